//! Tests of the printed specification.

use clara_lifecycle::samples;

use super::*;

#[test]
fn the_printed_specification_names_the_file_of_the_golden_dataset() {
    let spec = samples::spec();
    let named = |file: Option<&str>| {
        let table: toml::Table = toml::from_str(&printed(&spec, file).unwrap()).unwrap();
        (table["golden_dataset"].as_str().unwrap().to_owned(), table["domain"].clone())
    };
    let domain = toml::Value::String(spec.domain.to_string());
    assert_eq!(named(None), (spec.golden_dataset.to_string(), domain.clone()));
    assert_eq!(named(Some("my \"own\".json")), ("my \"own\".json".to_owned(), domain));
}
