//! Which attachments hold the text of a document, and how they are read.

#[cfg(test)]
mod tests;

use encoding_rs::{Encoding, UTF_8};
use serde_json::Value;
use tracing::Span;

use crate::source::{text_of_html, text_of_pdf};

/// An attachment that can be read as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Attachment {
    pub(super) name: String,
    pub(super) length: u64,
    kind: Kind,
    charset: Option<String>,
}

/// What is read, the preferred kind first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Plain,
    Html,
    Pdf,
}

/// The attachments of the preferred kind among those there are, in the order of their names: others are the same text once more.
pub(super) fn readable(attachments: Option<&Value>) -> Vec<Attachment> {
    let mut found: Vec<Attachment> = attachments
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .filter_map(|(name, about)| Attachment::new(name, about))
        .collect();
    found.sort_by(|a, b| (a.kind, &a.name).cmp(&(b.kind, &b.name)));
    let kind = found.first().map(|first| first.kind);
    found.retain(|attachment| Some(attachment.kind) == kind);
    found
}

impl Attachment {
    fn new(name: &str, about: &Value) -> Option<Self> {
        let content_type = about.get("content_type")?.as_str()?.to_ascii_lowercase();
        let mut parts = content_type.split(';').map(str::trim);
        let kind = match parts.next()? {
            "text/plain" | "text/markdown" | "text/x-markdown" => Kind::Plain,
            "text/html" | "application/xhtml+xml" => Kind::Html,
            "application/pdf" => Kind::Pdf,
            _ => return None,
        };
        let charset = parts
            .find_map(|part| part.strip_prefix("charset="))
            .map(|charset| charset.trim_matches('"').to_owned());
        let length = about.get("length").and_then(Value::as_u64).unwrap_or_default();
        Some(Self { name: name.to_owned(), length, kind, charset })
    }

    /// Its text, or what is wrong with it; read on a thread of its own, since a PDF may take seconds, in which all other requests and
    /// the heartbeats of the worker would stand still.
    pub(super) async fn read(&self, body: Vec<u8>) -> Result<String, String> {
        let (attachment, span) = (self.clone(), Span::current());
        let read = tokio::task::spawn_blocking(move || span.in_scope(|| attachment.text(&body)));
        read.await.unwrap_or_else(|error| {
            Err(format!(
                "its attachment `{}` cannot be read: the thread that reads it ended early ({error})",
                self.name
            ))
        })
    }

    /// Its text, or what is wrong with it.
    fn text(&self, body: &[u8]) -> Result<String, String> {
        match self.kind {
            Kind::Plain => self.decoded(body),
            Kind::Html => {
                // Without a charset the page itself tells.
                let read = if self.charset.is_some() {
                    text_of_html(self.decoded(body)?.as_bytes())
                } else {
                    text_of_html(body)
                };
                read.map_err(|problem| {
                    format!("its attachment `{}` is no page that can be read: {problem}", self.name)
                })
            }
            Kind::Pdf => text_of_pdf(body).map_err(|problem| {
                format!("its attachment `{}` is no PDF that can be read: {problem}", self.name)
            }),
        }
    }

    fn decoded(&self, body: &[u8]) -> Result<String, String> {
        let charset = self.charset.as_deref().unwrap_or("utf-8");
        let encoding = Encoding::for_label(charset.as_bytes())
            .ok_or_else(|| format!("its attachment `{}` has the unknown charset `{charset}`", self.name))?;
        let (text, _, is_damaged) = encoding.decode(body);
        if is_damaged && encoding == UTF_8 {
            return Err(format!(
                "its attachment `{}` is no UTF-8; give its charset in `content_type`",
                self.name
            ));
        }
        Ok(text.into_owned())
    }
}
