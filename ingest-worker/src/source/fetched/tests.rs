//! Lines that servers gave, broken ones among them.

use std::sync::Arc;

use super::FetchedSource;
use crate::source::{FileKind, Source as _, SourceFile, SourceItem};

#[test]
fn documents_are_named_by_their_server_and_broken_ones_by_their_id() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("documents.jsonl");
    let lines = [
        r#"{"id":"a","text":"Der Bauantrag.","domain":"baurecht","heading":"§ 1"}"#,
        r#"{"$broken":["b","the body is no JSON"]}"#,
        r#"{"$broken":["x"],"text":"Ein Feld dieses Namens."}"#,
        r#"{"id":"c","text":7}"#,
    ];
    std::fs::write(&path, lines.join("\n") + "\n").unwrap();
    let file = SourceFile { path, name: "@gesetze".into(), kind: FileKind::Fetched, fields: Arc::default() };
    let mut source = FetchedSource::open(&file).unwrap();
    let mut items = Vec::new();
    while let Some(item) = source.next_item().unwrap() {
        items.push(item);
    }
    let [SourceItem::Document(first), SourceItem::Broken(second), third, SourceItem::Broken(fourth)] =
        items.as_slice()
    else {
        panic!("{items:?}")
    };
    assert_eq!((first.id.as_str(), first.origin.to_string().as_str()), ("a", "@gesetze:1"));
    assert_eq!(first.domain.as_deref(), Some("baurecht"));
    assert_eq!(first.metadata["heading"], "§ 1");
    assert_eq!(second.origin.to_string(), "@gesetze:2");
    assert_eq!(second.problem, "document b: the body is no JSON");
    assert!(matches!(third, SourceItem::Broken(_)), "{third:?}");
    assert!(fourth.problem.contains("`text`"), "{}", fourth.problem);
    assert_eq!(source.read_so_far().0, std::fs::metadata(&file.path).unwrap().len());
}
