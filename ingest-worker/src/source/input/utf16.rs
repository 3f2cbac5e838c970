//! Texts in UTF-16, as spreadsheets and shells of Windows write them, as UTF-8.

use encoding_rs::{Decoder, DecoderResult, UTF_16BE, UTF_16LE};

const DECODED_BYTES: usize = 64 << 10;
/// Goes before the text, so that readers know its encoding.
const UTF8_MARK: &[u8] = b"\xef\xbb\xbf";
/// Stands for what is no UTF-16, so that the document around it is broken as one that is no UTF-8.
const NO_TEXT: u8 = 0xff;

/// A text that is decoded piece by piece.
pub(super) struct Utf16 {
    decoder: Decoder,
    decoded: Vec<u8>,
    /// Bytes of `decoded` that were read.
    read: usize,
    is_at_end: bool,
}

impl Utf16 {
    /// A text that begins with these bytes, `None` when it is in another encoding: told by its byte order mark, or by the empty
    /// halves of its first two letters.
    pub(super) fn told_by(start: &[u8]) -> Option<Self> {
        let encoding = match start {
            [0xff, 0xfe, 0, 0, ..] => return None, // UTF-32
            [0xff, 0xfe, ..] | [0x01..=0xff, 0, 0x01..=0xff, 0, ..] => UTF_16LE,
            [0xfe, 0xff, ..] | [0, 0x01..=0xff, 0, 0x01..=0xff, ..] => UTF_16BE,
            _ => return None,
        };
        let decoder = encoding.new_decoder_with_bom_removal();
        Some(Self { decoder, decoded: UTF8_MARK.to_vec(), read: 0, is_at_end: false })
    }

    /// Bytes that were decoded and not read.
    pub(super) fn decoded(&self) -> &[u8] {
        self.decoded.get(self.read..).unwrap_or_default()
    }

    /// Takes note that so many of them were read.
    pub(super) fn consume(&mut self, count: usize) {
        self.read += count;
    }

    /// Whether nothing is left to be decoded.
    pub(super) fn is_at_end(&self) -> bool {
        self.is_at_end
    }

    /// Decodes bytes in the place of those that were read, none at the end of the file; says how many of them were taken.
    pub(super) fn decode(&mut self, bytes: &[u8]) -> usize {
        let is_last = bytes.is_empty();
        // With room for the mark of what is no text.
        self.decoded.resize(DECODED_BYTES + 1, 0);
        let (room, _) = self.decoded.split_at_mut(DECODED_BYTES);
        let (result, taken, mut written) =
            self.decoder.decode_to_utf8_without_replacement(bytes, room, is_last);
        match result {
            DecoderResult::InputEmpty => self.is_at_end = is_last,
            DecoderResult::OutputFull => {}
            DecoderResult::Malformed(..) => {
                if let Some(place) = self.decoded.get_mut(written) {
                    *place = NO_TEXT;
                    written += 1;
                }
            }
        }
        self.decoded.truncate(written);
        self.read = 0;
        taken
    }
}
