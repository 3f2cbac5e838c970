//! Which columns are read, and the SQL that reads a page of them in the order of the key.

use std::fmt::Write as _;

use clara_runtime::config::RemoteSettings;
use tokio_postgres::{
    Column,
    types::{Kind, Type},
};

use crate::{fetch::mapping::Mapping, source::MOST_DOCUMENT_BYTES};

/// One column, and how its value travels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Field {
    /// As the server calls it.
    pub(super) name: String,
    /// Whether the text that comes is JSON.
    pub(super) is_json: bool,
    expression: String,
}

/// What is asked of the server, page by page.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    relation: String,
    condition: Option<String>,
    key: String,
    key_type: String,
    /// The columns that come after key and size, in this order.
    pub(super) fields: Vec<Field>,
    page: usize,
}

/// The table or the user's query, as it stands after FROM.
pub(super) fn relation(settings: &RemoteSettings) -> String {
    match (&settings.query, &settings.table) {
        (Some(query), _) => format!("({}\n) AS t", query.trim().trim_end_matches(';')),
        (None, Some(table)) if table.contains('"') => format!("{table} AS t"),
        (None, table) => {
            let parts: Vec<String> = table.iter().flat_map(|table| table.split('.')).map(quoted).collect();
            format!("{} AS t", parts.join("."))
        }
    }
}

impl Plan {
    /// Chooses among the columns that the relation has.
    ///
    /// # Errors
    /// Which column is missing or cannot be used, and what there is.
    pub(super) fn new(
        settings: &RemoteSettings,
        mapping: &Mapping,
        columns: &[Column],
    ) -> Result<Self, String> {
        let key = settings.key.clone().unwrap_or_else(|| mapping.path("id").to_owned());
        let key_column = columns.iter().find(|column| column.name() == key).ok_or_else(|| {
            format!(
                "it has no column `{key}` to order the rows by; found {}; correct `key` or `fields.id`",
                names(columns)
            )
        })?;
        check_paths(mapping, columns)?;
        check_text(settings, mapping, columns)?;
        let fields = columns.iter().filter(|column| is_wanted(column, mapping)).map(field).collect();
        let type_of_key = key_column.type_();
        Ok(Self {
            relation: relation(settings),
            condition: settings.filter.clone(),
            key: quoted(&key),
            key_type: format!("{}.{}", quoted(type_of_key.schema()), quoted(type_of_key.name())),
            fields,
            page: settings.page,
        })
    }

    /// The query of a page: key, size in bytes, then the columns as texts. One row more than a page is asked for, which tells whether the key repeats.
    ///
    /// Values of a document that is too large to be read stay at the server.
    pub(super) fn page(&self, is_first: bool) -> String {
        let (mut inner, mut size, mut outer) = (String::new(), String::from("0::bigint"), String::new());
        for (number, Field { expression, .. }) in self.fields.iter().enumerate() {
            let _ = write!(inner, ", {expression} AS c{number}");
            let _ = write!(size, " + coalesce(octet_length({expression}), 0)");
            let _ = write!(outer, ", CASE WHEN size <= {MOST_DOCUMENT_BYTES} THEN c{number} END");
        }
        let Self { relation, key, key_type, page, .. } = self;
        let after = if is_first { None } else { Some(format!("t.{key} > $1::text::{key_type}")) };
        let condition = self.where_clause(after);
        format!(
            "SELECT k, size{outer} FROM (SELECT t.{key}::text AS k, {size} AS size{inner} FROM {relation}{condition} \
             ORDER BY t.{key} LIMIT {}) AS page",
            page + 1
        )
    }

    /// The query that counts all rows.
    pub(super) fn count(&self) -> String {
        format!("SELECT count(*) FROM {}{}", self.relation, self.where_clause(None))
    }

    /// The query that finds a row without a key, which no page would hold.
    pub(super) fn without_key(&self) -> String {
        let condition = self.where_clause(Some(format!("t.{} IS NULL", self.key)));
        format!("SELECT EXISTS (SELECT 1 FROM {}{condition})", self.relation)
    }

    fn where_clause(&self, more: Option<String>) -> String {
        let conditions: Vec<String> =
            self.condition.iter().map(|own| format!("({own}\n)")).chain(more).collect();
        if conditions.is_empty() { String::new() } else { format!(" WHERE {}", conditions.join(" AND ")) }
    }
}

/// A name as an identifier, whatever it holds.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn names(columns: &[Column]) -> String {
    columns.iter().map(|column| format!("`{}`", column.name())).collect::<Vec<_>>().join(", ")
}

/// The column that a path leads into.
fn column_of<'a>(path: &str, columns: &'a [Column]) -> Option<&'a Column> {
    let whole = columns.iter().find(|column| column.name() == path);
    whole.or_else(|| {
        let (head, _) = path.split_once('.')?;
        columns.iter().find(|column| column.name() == head)
    })
}

/// Refuses settings that name columns which are not there.
fn check_paths(mapping: &Mapping, columns: &[Column]) -> Result<(), String> {
    let fields = mapping.paths().filter(|(name, _)| mapping.is_given(name) || *name == "id");
    let fields = fields.map(|(name, path)| (format!("fields.{name}"), path));
    let metadata = mapping.metadata().iter().map(|path| ("metadata".to_owned(), path.as_str()));
    for (setting, path) in fields.chain(metadata) {
        if column_of(path, columns).is_none() {
            return Err(format!("it has no column `{path}`; found {}; correct `{setting}`", names(columns)));
        }
    }
    Ok(())
}

/// Refuses a relation without any text to learn from.
fn check_text(settings: &RemoteSettings, mapping: &Mapping, columns: &[Column]) -> Result<(), String> {
    let has = |name: &'static str| column_of(mapping.path(name), columns).is_some();
    if let Some(column) = column_of(mapping.path("text"), columns) {
        if *column.type_() == Type::BYTEA {
            return Err(format!(
                "the column `{0}` holds bytes, not text; give a `query` that turns them into text, such as convert_from({0}, 'UTF8')",
                column.name()
            ));
        }
        return Ok(());
    }
    if has("messages") || (has("instruction") && has("output")) || (has("prompt") && has("completion")) {
        return Ok(());
    }
    let named = |name: &str| columns.iter().any(|column| column.name() == name);
    let elsewhere = if named("document_id") && named("file_path") {
        "; this is a table of UDS3 that names documents and holds no texts: they lie in Chroma (kind = \"chroma\", table = \
         \"document_chunks\"), in CouchDB (kind = \"couchdb\"), or in uds3_processor_results, which a `query` can join"
    } else {
        ""
    };
    let place = if settings.query.is_some() { "query" } else { "table" };
    Err(format!(
        "the {place} has no column `{}` with the text; found {}; name it in `fields.text`{elsewhere}",
        mapping.path("text"),
        names(columns)
    ))
}

/// Whether a column is mapped, asked for as metadata, or a text when all texts are.
fn is_wanted(column: &Column, mapping: &Mapping) -> bool {
    let leads_here = |path: &str| column_of(path, std::slice::from_ref(column)).is_some();
    if mapping.paths().any(|(_, path)| leads_here(path)) {
        return true;
    }
    if mapping.metadata().is_empty() {
        return !matches!(*column.type_(), Type::BYTEA | Type::TS_VECTOR);
    }
    mapping.metadata().iter().any(|path| leads_here(path))
}

/// How the value of a column travels: as the text that PostgreSQL shows, times in ISO 8601, what has parts as JSON.
fn field(column: &Column) -> Field {
    let (name, kind) = (column.name().to_owned(), column.type_());
    let own = format!("t.{}", quoted(&name));
    let has_parts = matches!(kind.kind(), Kind::Array(_) | Kind::Composite(_));
    let is_json = has_parts || matches!(*kind, Type::JSON | Type::JSONB | Type::INT2_VECTOR);
    let expression = match *kind {
        _ if is_json => format!("to_jsonb({own})::text"),
        Type::DATE | Type::TIME | Type::TIMETZ | Type::TIMESTAMP | Type::TIMESTAMPTZ => {
            format!("(to_jsonb({own}) #>> '{{}}')")
        }
        _ => format!("{own}::text"),
    };
    Field { name, is_json, expression }
}
