//! Ids as the transformers library gives them, and text that comes back unharmed.

use std::path::Path;

use serde::Deserialize;

use super::*;
use crate::model;

#[derive(Deserialize)]
struct Cases {
    texts: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    text: String,
    ids: Vec<u32>,
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures").join(name)
}

fn tokenizer(name: &str) -> Tokenizer {
    model::load(&fixture(name), model::Precision::Full).unwrap().tokenizer
}

fn cases() -> Vec<Case> {
    cases_of("tiny-llama-texts.json")
}

fn cases_of(name: &str) -> Vec<Case> {
    let cases: Cases = serde_json::from_slice(&std::fs::read(fixture(name)).unwrap()).unwrap();
    cases.texts
}

#[test]
fn ids_are_those_of_the_reference_tokenizer() {
    for source in ["tiny-llama", "tiny-llama.gguf"] {
        let tokenizer = tokenizer(source);
        for case in cases() {
            assert_eq!(tokenizer.encode(&case.text).unwrap(), case.ids, "{source}: {:?}", case.text);
        }
    }
}

#[test]
fn pieces_are_joined_as_the_reference_joins_them_and_come_back_as_text() {
    let tokenizer = tokenizer("families/gemma3.gguf");
    for case in cases_of("families/gemma3-texts.json") {
        let ids = tokenizer.encode_document(&case.text).unwrap();
        assert_eq!(ids, case.ids, "{:?}", case.text);
        let text = case.text.replace("<bos>", "").replace("<eos>", "");
        assert_eq!(tokenizer.decode(&ids).unwrap(), text);
    }
}

#[test]
fn pieces_without_a_score_each_are_refused() {
    let pieces =
        SentencePieces { tokens: vec!["a".into(), "b".into()], scores: vec![0.0], ..Default::default() };
    let refused = Tokenizer::from_sentence_pieces(pieces, SpecialTokens::default()).unwrap_err();
    assert!(refused.to_string().contains("1 scores for 2 pieces"), "{refused}");
}

#[test]
fn the_bytes_of_all_tokens_are_the_text() {
    let tokenizer = tokenizer("tiny-llama.gguf");
    for case in cases() {
        let bytes: Vec<u8> = case.ids.iter().flat_map(|id| tokenizer.token_bytes(*id).unwrap()).collect();
        assert_eq!(String::from_utf8(bytes).unwrap(), case.text);
    }
}

#[test]
fn a_stream_gives_the_text_in_whole_characters() {
    let tokenizer = tokenizer("tiny-llama");
    let text = "Ein Haus 🏠 mit Überdachung ☀ – § 35.";
    let mut stream = TextStream::new();
    let mut streamed = String::new();
    for id in tokenizer.encode(text).unwrap() {
        let piece = stream.push(&tokenizer, id).unwrap();
        assert!(!piece.contains('\u{FFFD}'), "{piece:?}");
        streamed.push_str(&piece);
    }
    streamed.push_str(&stream.finish(&tokenizer).unwrap());
    assert_eq!(streamed, text);
}

#[test]
fn a_stream_that_ends_inside_a_character_says_so() {
    let tokenizer = tokenizer("tiny-llama");
    let ids = tokenizer.encode("🏠").unwrap();
    assert!(ids.len() > 1);
    let mut stream = TextStream::new();
    assert_eq!(stream.push(&tokenizer, ids[0]).unwrap(), "");
    assert!(stream.finish(&tokenizer).unwrap().contains('\u{FFFD}'));
}

#[test]
fn special_tokens_are_single_ids_and_no_part_of_decoded_text() {
    let tokenizer = tokenizer("tiny-llama");
    let ids = tokenizer.encode("<|im_start|>Hallo<|im_end|>").unwrap();
    assert_eq!((ids.first(), ids.last()), (Some(&1), Some(&2)));
    assert_eq!(tokenizer.decode(&ids).unwrap(), "Hallo");
    assert_eq!(tokenizer.token_text(2).as_deref(), Some("<|im_end|>"));
    assert!(tokenizer.is_special(2) && !tokenizer.is_special(100));
}

#[test]
fn a_document_starts_with_the_mark_only_where_the_model_wants_one() {
    let path = fixture("tiny-llama/tokenizer.json");
    for (add_bos, expected) in [(Some(true), Some(&1)), (Some(false), None), (None, None)] {
        let special = SpecialTokens { bos: Some(1), eos: vec![2], add_bos };
        let tokenizer = Tokenizer::from_file(&path, special).unwrap();
        let ids = tokenizer.encode_document("Text").unwrap();
        assert_eq!(ids.first().filter(|id| **id == 1), expected);
    }
}

#[test]
fn a_token_beyond_the_embedding_is_refused() {
    let tokenizer = tokenizer("tiny-llama");
    assert!(tokenizer.check_vocabulary(320).is_ok());
    assert!(matches!(tokenizer.check_vocabulary(319), Err(TokenizerError::Vocabulary { .. })));
}

#[test]
fn sentence_piece_entries_give_their_bytes() {
    assert_eq!(bytes::of_sentence_piece("▁Recht"), b" Recht");
    assert_eq!(bytes::of_sentence_piece("<0x0A>"), [10]);
}

#[test]
fn every_byte_has_one_character() {
    let written: Vec<Vec<u8>> = ('\u{21}'..='\u{143}')
        .filter(|c| *c != '\u{7f}')
        .map(|c| bytes::of_byte_level(&c.to_string()))
        .collect();
    let mut single: Vec<u8> = written.into_iter().filter(|bytes| bytes.len() == 1).flatten().collect();
    single.sort_unstable();
    assert_eq!(single, (0..=u8::MAX).collect::<Vec<u8>>());
}
