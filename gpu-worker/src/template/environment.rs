//! The template environment that Hugging Face chat templates are written for.

use minijinja::{Environment, Error, ErrorKind, Value, syntax::SyntaxConfig, value::Kwargs};
use serde::Serialize as _;
use serde_json::ser::{Formatter, PrettyFormatter, Serializer};

/// Python methods, `raise_exception`, `tojson`; no `strftime_now`, so that a template gives the same text every day.
pub(super) fn hugging_face() -> Result<Environment<'static>, Error> {
    let mut environment = Environment::new();
    environment.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?);
    environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
    environment.add_function("raise_exception", |message: String| -> Result<Value, Error> {
        Err(Error::new(ErrorKind::InvalidOperation, message))
    });
    environment.add_filter("tojson", to_json);
    Ok(environment)
}

/// Takes `{% generation %}` marks out: they tell trainers about turns and have no effect on the text.
pub(super) fn without_generation_marks(source: &str) -> String {
    let mut result = String::with_capacity(source.len());
    let mut rest = source;
    while let Some((before, tag_and_rest)) = rest.split_once("{%") {
        let Some((tag, after)) = tag_and_rest.split_once("%}") else {
            break;
        };
        let word = tag.trim_matches(|c: char| c.is_whitespace() || c == '-' || c == '+');
        let replaced = match word {
            "generation" => tag.replace("generation", "if true"),
            "endgeneration" => tag.replace("endgeneration", "endif"),
            _ => tag.to_owned(),
        };
        result.push_str(before);
        result.push_str("{%");
        result.push_str(&replaced);
        result.push_str("%}");
        rest = after;
    }
    result.push_str(rest);
    result
}

/// JSON as Python's `json.dumps(…, ensure_ascii=False)` writes it.
#[expect(clippy::needless_pass_by_value, reason = "the signature of filters with named arguments")]
fn to_json(value: &Value, options: Kwargs) -> Result<Value, Error> {
    let indent: Option<usize> = options.get("indent")?;
    let text = match indent {
        Some(width) => {
            let blanks = " ".repeat(width);
            write_json(value, PrettyFormatter::with_indent(blanks.as_bytes()))
        }
        None => write_json(value, PythonFormatter),
    };
    text.map(Value::from_safe_string)
}

fn write_json(value: &Value, formatter: impl Formatter) -> Result<String, Error> {
    let mut bytes = Vec::new();
    let failed = |message: String| Error::new(ErrorKind::BadSerialization, message);
    value
        .serialize(&mut Serializer::with_formatter(&mut bytes, formatter))
        .map_err(|error| failed(error.to_string()))?;
    String::from_utf8(bytes).map_err(|error| failed(error.to_string()))
}

/// Separators `, ` and `: `.
struct PythonFormatter;

impl Formatter for PythonFormatter {
    fn begin_array_value<W: ?Sized + std::io::Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> std::io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_key<W: ?Sized + std::io::Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> std::io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_value<W: ?Sized + std::io::Write>(&mut self, writer: &mut W) -> std::io::Result<()> {
        writer.write_all(b": ")
    }
}
