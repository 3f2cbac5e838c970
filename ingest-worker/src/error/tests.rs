//! Messages that name an example.

use super::*;

#[test]
fn a_file_without_a_kind_is_refused_with_an_example_of_a_name() {
    for (found, says) in [("", "no ending"), ("gz", "`law.jsonl.gz`"), ("doc", "files of kind `doc`")] {
        let error = IngestError::UnknownKind { path: "law".to_owned(), found: found.to_owned() };
        assert!(error.to_string().contains(says), "{error}");
    }
}
