//! The part of AQL that ThemisDB answers from one table: `FOR … FILTER … SORT … LIMIT … RETURN …`.

use serde_json::Value;

/// A query that was understood.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Query {
    pub(crate) table: String,
    /// Path, operator, literal; all must hold.
    pub(crate) conditions: Vec<(String, String, Value)>,
    pub(crate) sort: Option<String>,
    pub(crate) limit: Option<usize>,
    /// Name and path when a projection is returned.
    pub(crate) projection: Option<(String, String)>,
}

const REFUSED: [&str; 10] = [
    "drop ",
    "alter ",
    "insert ",
    "update ",
    "delete ",
    "grant ",
    "revoke ",
    "truncate ",
    "create table",
    ";;",
];

/// Understands a query.
///
/// # Errors
/// What the server says.
pub(crate) fn parse(query: &str) -> Result<Query, String> {
    let lower = query.to_lowercase();
    if let Some(word) = REFUSED.iter().find(|word| lower.contains(**word)) {
        return Err(format!("Potentially dangerous query pattern detected: {word}"));
    }
    let mut tokens = Tokens { rest: query.trim() };
    tokens.expect("FOR")?;
    tokens.expect("d")?;
    tokens.expect("IN")?;
    let table = tokens.next()?;
    let mut query = Query { table, conditions: Vec::new(), sort: None, limit: None, projection: None };
    loop {
        match tokens.next()?.as_str() {
            "FILTER" => query.conditions = conditions(&mut tokens)?,
            "SORT" => {
                query.sort = Some(path(&tokens.next()?)?);
                tokens.expect("ASC")?;
            }
            "LIMIT" => {
                query.limit = Some(tokens.next()?.parse().map_err(|_| "AQL parse error: LIMIT".to_owned())?);
            }
            "RETURN" => {
                if tokens.next()? == "{" {
                    let name = tokens.next()?;
                    tokens.expect(":")?;
                    query.projection = Some((name, path(&tokens.next()?)?));
                }
                return Ok(query);
            }
            other => return Err(format!("AQL parse error: unexpected {other}")),
        }
    }
}

/// Whether a document meets a condition.
pub(crate) fn holds(document: &Value, (path, operator, literal): &(String, String, Value)) -> bool {
    let found = lookup(document, path);
    let order = match (found, literal) {
        (Value::String(found), Value::String(literal)) => found.cmp(literal),
        (found, literal) => match (found.as_f64(), literal.as_f64()) {
            (Some(found), Some(literal)) => found.total_cmp(&literal),
            _ => return false,
        },
    };
    match operator.as_str() {
        "==" => order.is_eq(),
        "!=" => order.is_ne(),
        ">" => order.is_gt(),
        ">=" => order.is_ge(),
        "<" => order.is_lt(),
        _ => order.is_le(),
    }
}

/// A field by its path.
pub(crate) fn lookup<'a>(document: &'a Value, path: &str) -> &'a Value {
    path.split('.').fold(document, |value, field| &value[field])
}

fn conditions(tokens: &mut Tokens<'_>) -> Result<Vec<(String, String, Value)>, String> {
    let mut conditions = Vec::new();
    loop {
        let mut left = tokens.next()?;
        while left == "(" {
            left = tokens.next()?;
        }
        let operator = tokens.next()?;
        let literal =
            serde_json::from_str(&tokens.next()?).map_err(|_| "AQL parse error: literal".to_owned())?;
        conditions.push((path(&left)?, operator, literal));
        while tokens.peek()? == ")" {
            tokens.next()?;
        }
        if tokens.peek()? != "AND" {
            return Ok(conditions);
        }
        tokens.next()?;
    }
}

fn path(token: &str) -> Result<String, String> {
    token
        .strip_prefix("d.")
        .map(str::to_owned)
        .ok_or_else(|| format!("AQL parse error: expected a field, found {token}"))
}

struct Tokens<'a> {
    rest: &'a str,
}

impl Tokens<'_> {
    fn expect(&mut self, expected: &str) -> Result<(), String> {
        let found = self.next()?;
        if found == expected {
            Ok(())
        } else {
            Err(format!("AQL parse error: expected {expected}, found {found}"))
        }
    }

    fn peek(&self) -> Result<String, String> {
        Tokens { rest: self.rest }.next()
    }

    fn next(&mut self) -> Result<String, String> {
        let rest = self.rest.trim_start();
        let end = match rest.chars().next() {
            None => return Err("AQL parse error: unexpected end".to_owned()),
            Some('"') => text_end(rest).ok_or("AQL parse error: a text has no end")?,
            Some('(' | ')' | '{' | '}' | ':') => 1,
            Some(_) => rest
                .find(|found: char| found.is_whitespace() || "(){}:".contains(found))
                .unwrap_or(rest.len()),
        };
        let (token, rest) = rest.split_at(end);
        self.rest = rest;
        Ok(token.to_owned())
    }
}

/// Behind the quote that ends the text at the beginning.
fn text_end(text: &str) -> Option<usize> {
    let mut is_escaped = false;
    for (place, found) in text.char_indices().skip(1) {
        match found {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            '"' => return Some(place + 1),
            _ => {}
        }
    }
    None
}
