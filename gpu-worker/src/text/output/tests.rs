//! Behaviour of text on its way out.

use super::*;

fn pushed(stops: &[&str], pieces: &[&[u8]]) -> (Vec<String>, bool, String) {
    let mut output = Output::new(stops.iter().map(|stop| (*stop).to_owned()).collect());
    let mut texts = Vec::new();
    for piece in pieces {
        let released = output.push(piece);
        texts.push(released.text);
        if released.stopped {
            return (texts, true, output.finish());
        }
    }
    (texts, false, output.finish())
}

#[test]
fn a_character_split_over_tokens_appears_once_it_is_whole() {
    let (texts, _, rest) = pushed(&[], &[b"gr\xc3", b"\xb6\xc3\x9f", b"e\xf0\x9f", b"\x8f", b"\xa0"]);
    assert_eq!(texts, ["gr", "öß", "e", "", "🏠"]);
    assert_eq!(rest, "");
}

#[test]
fn bytes_that_are_no_character_are_shown_as_such() {
    let (texts, _, rest) = pushed(&[], &[b"a\xffb", b"\xc3"]);
    assert_eq!(texts, ["a\u{fffd}b", ""]);
    assert_eq!(rest, "\u{fffd}");
}

#[test]
fn a_stop_text_over_several_tokens_ends_the_text_before_it() {
    let (texts, stopped, rest) = pushed(&["ENDE"], &[b"gut E", b"N", b"DE und mehr"]);
    assert_eq!((texts.concat().as_str(), stopped, rest.as_str()), ("gut ", true, ""));
}

#[test]
fn the_earliest_of_several_stop_texts_counts() {
    let (texts, stopped, _) = pushed(&["\n\n", ";"], &[b"a;b\n\nc"]);
    assert_eq!((texts.concat().as_str(), stopped), ("a", true));
}

#[test]
fn a_false_start_of_a_stop_text_is_released() {
    let (texts, stopped, rest) = pushed(&["ENDE"], &[b"EN", b"g", b" END"]);
    assert_eq!(texts, ["", "ENg", " "]);
    assert_eq!((stopped, rest.as_str()), (false, "END"));
}
