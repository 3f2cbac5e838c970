//! Turns token bytes into text: whole characters only, and nothing that may still become a stop text.

/// The text of one generation on its way out.
#[derive(Debug)]
pub(super) struct Output {
    /// Bytes of an unfinished character.
    bytes: Vec<u8>,
    /// Text that may be the start of a stop text.
    held: String,
    stops: Vec<String>,
}

/// What one token released.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Released {
    pub(super) text: String,
    /// Whether a stop text was reached; the text ends before it.
    pub(super) stopped: bool,
}

impl Output {
    pub(super) fn new(stops: Vec<String>) -> Self {
        Self { bytes: Vec::new(), held: String::new(), stops }
    }

    /// Takes the bytes of the next token.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Released {
        self.bytes.extend_from_slice(bytes);
        self.decode();
        let first = self.stops.iter().filter_map(|stop| self.held.find(stop)).min();
        if let Some(start) = first {
            let text = self.held.get(..start).unwrap_or_default().to_owned();
            self.held.clear();
            self.bytes.clear();
            return Released { text, stopped: true };
        }
        let kept = self.stops.iter().map(|stop| overlap(&self.held, stop)).max().unwrap_or(0);
        let rest = self.held.split_off(self.held.len() - kept);
        Released { text: std::mem::replace(&mut self.held, rest), stopped: false }
    }

    /// Everything still held back; broken characters become U+FFFD.
    pub(super) fn finish(&mut self) -> String {
        let mut text = std::mem::take(&mut self.held);
        text.push_str(&String::from_utf8_lossy(&std::mem::take(&mut self.bytes)));
        text
    }

    /// Moves whole characters from `bytes` to `held`; bytes that can never be a character become U+FFFD.
    fn decode(&mut self) {
        let mut done = 0;
        for chunk in self.bytes.utf8_chunks() {
            self.held.push_str(chunk.valid());
            done += chunk.valid().len();
            let invalid = chunk.invalid();
            let may_continue = done + invalid.len() == self.bytes.len()
                && std::str::from_utf8(invalid).is_err_and(|error| error.error_len().is_none());
            if may_continue {
                break;
            }
            if !invalid.is_empty() {
                self.held.push(char::REPLACEMENT_CHARACTER);
                done += invalid.len();
            }
        }
        self.bytes.drain(..done);
    }
}

/// Length of the longest end of `text` that is a true beginning of `stop`.
fn overlap(text: &str, stop: &str) -> usize {
    let starts = stop.char_indices().skip(1).map(|(index, _)| index);
    starts.filter(|&length| stop.get(..length).is_some_and(|start| text.ends_with(start))).max().unwrap_or(0)
}

#[cfg(test)]
mod tests;
