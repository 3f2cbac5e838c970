//! Tests of printed tables.

use super::*;

#[test]
fn columns_are_aligned_and_lines_have_no_blanks_at_the_end() {
    let rows = vec![["a".to_owned(), "long value".to_owned()], ["bcd".to_owned(), String::new()]];
    assert_eq!(table(["id", "text"], rows, None), "ID   TEXT\na    long value\nbcd");
}

#[test]
fn a_value_of_several_lines_stays_in_its_column() {
    let fields = [("id", "x".to_owned()), ("reasons", "one\ntwo".to_owned()), ("note", String::new())];
    assert_eq!(aligned(&fields), "id       x\nreasons  one\n         two\nnote");
}
