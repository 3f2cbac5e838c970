//! What may be written where.

use super::*;

#[test]
fn a_file_that_is_there_is_replaced_only_when_forced() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("curve.svg");
    write(&path, "a long drawing", false).unwrap();
    let refused = write(&path, "new", false).unwrap_err().to_string();
    assert!(refused.contains("--force"), "{refused}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "a long drawing");
    write(&path, "new", true).unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "new");
}

#[test]
fn other_formats_than_svg_are_refused_with_a_way_to_get_them() {
    check_kind(Path::new("a/Curve.SVG")).unwrap();
    for name in ["curve.png", "curve"] {
        let refused = check_kind(Path::new(name)).unwrap_err().to_string();
        assert!(refused.contains("rsvg-convert curve.svg"), "{refused}");
    }
}
