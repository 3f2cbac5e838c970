//! Values of Arrow columns as JSON values.

use arrow_array::{Array, cast::AsArray as _, types};
use arrow_schema::DataType;
use serde_json::{Map, Value};

use crate::source::MOST_DOCUMENT_BYTES;

/// Whether a column holds texts.
pub(super) fn is_text(kind: &DataType) -> bool {
    match kind {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => true,
        DataType::Dictionary(_, values) => is_text(values),
        _ => false,
    }
}

/// The value of a row, `None` for null and for kinds that no record is made from, such as times.
///
/// Bytes are taken for a text where `may_be_bytes`: old writers do not mark texts as such.
///
/// # Errors
/// What is wrong with the value, without its content.
pub(super) fn of(column: &dyn Array, row: usize, may_be_bytes: bool) -> Result<Option<Value>, String> {
    if column.is_null(row) {
        return Ok(None);
    }
    Ok(match column.data_type() {
        DataType::Utf8 => Some(text(column.as_string::<i32>().value(row))?),
        DataType::LargeUtf8 => Some(text(column.as_string::<i64>().value(row))?),
        DataType::Utf8View => Some(text(column.as_string_view().value(row))?),
        DataType::Binary if may_be_bytes => Some(bytes(column.as_binary::<i32>().value(row))?),
        DataType::LargeBinary if may_be_bytes => Some(bytes(column.as_binary::<i64>().value(row))?),
        DataType::BinaryView if may_be_bytes => Some(bytes(column.as_binary_view().value(row))?),
        DataType::Boolean => Some(Value::Bool(column.as_boolean().value(row))),
        DataType::Decimal128(..) => {
            Some(Value::String(column.as_primitive::<types::Decimal128Type>().value_as_string(row)))
        }
        DataType::List(_) => Some(list(&column.as_list::<i32>().value(row), may_be_bytes)?),
        DataType::LargeList(_) => Some(list(&column.as_list::<i64>().value(row), may_be_bytes)?),
        DataType::FixedSizeList(..) => Some(list(&column.as_fixed_size_list().value(row), may_be_bytes)?),
        DataType::Struct(fields) => {
            let mut object = Map::new();
            for (field, inner) in fields.iter().zip(column.as_struct().columns()) {
                if let Some(value) = of(inner, row, may_be_bytes)? {
                    object.insert(field.name().clone(), value);
                }
            }
            Some(Value::Object(object))
        }
        DataType::Dictionary(..) => {
            let dictionary = column.as_any_dictionary();
            let key = number(dictionary.keys(), row).and_then(|key| usize::try_from(key.as_u64()?).ok());
            match key {
                Some(key) if key < dictionary.values().len() => of(dictionary.values(), key, may_be_bytes)?,
                _ => None,
            }
        }
        _ => number(column, row),
    })
}

fn number(column: &dyn Array, row: usize) -> Option<Value> {
    Some(match column.data_type() {
        DataType::Int8 => column.as_primitive::<types::Int8Type>().value(row).into(),
        DataType::Int16 => column.as_primitive::<types::Int16Type>().value(row).into(),
        DataType::Int32 => column.as_primitive::<types::Int32Type>().value(row).into(),
        DataType::Int64 => column.as_primitive::<types::Int64Type>().value(row).into(),
        DataType::UInt8 => column.as_primitive::<types::UInt8Type>().value(row).into(),
        DataType::UInt16 => column.as_primitive::<types::UInt16Type>().value(row).into(),
        DataType::UInt32 => column.as_primitive::<types::UInt32Type>().value(row).into(),
        DataType::UInt64 => column.as_primitive::<types::UInt64Type>().value(row).into(),
        DataType::Float32 => column.as_primitive::<types::Float32Type>().value(row).into(),
        DataType::Float64 => column.as_primitive::<types::Float64Type>().value(row).into(),
        _ => return None,
    })
}

fn list(values: &dyn Array, may_be_bytes: bool) -> Result<Value, String> {
    let mut list = Vec::with_capacity(values.len());
    for row in 0..values.len() {
        list.push(of(values, row, may_be_bytes)?.unwrap_or(Value::Null));
    }
    Ok(Value::Array(list))
}

fn text(text: &str) -> Result<Value, String> {
    if text.len() as u64 > MOST_DOCUMENT_BYTES {
        return Err(format!("holds a text longer than {MOST_DOCUMENT_BYTES} bytes"));
    }
    Ok(Value::String(text.to_owned()))
}

fn bytes(bytes: &[u8]) -> Result<Value, String> {
    match str::from_utf8(bytes) {
        Ok(valid) => text(valid),
        Err(error) => {
            Err(format!("holds bytes that are not valid UTF-8 from byte {}", error.valid_up_to() + 1))
        }
    }
}
