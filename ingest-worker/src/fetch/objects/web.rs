//! A file behind `http://` or `https://`.

use std::{path::Path, time::Duration};

use reqwest::{
    Client, RequestBuilder, Response, StatusCode, Url,
    header::{
        CONTENT_DISPOSITION, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderMap, HeaderName, IF_RANGE,
        LAST_MODIFIED, RANGE,
    },
};

use super::{Failed, Partial, RemoteFile};
use crate::{fetch::http, source::FileKind};

/// Longest wait for a connection, for an answer and for the next bytes.
const WAIT: Duration = Duration::from_secs(60);

/// Endings for contents whose URL tells none.
const ENDINGS: [(&str, &str); 12] = [
    ("application/jsonl", "jsonl"),
    ("application/x-ndjson", "jsonl"),
    ("application/x-jsonlines", "jsonl"),
    ("application/json", "json"),
    ("application/pdf", "pdf"),
    ("application/xml", "xml"),
    ("application/vnd.apache.parquet", "parquet"),
    ("text/csv", "csv"),
    ("text/html", "html"),
    ("text/markdown", "md"),
    ("text/plain", "txt"),
    ("text/xml", "xml"),
];

/// A file on a web server.
#[derive(Debug)]
pub(super) struct Web {
    client: Client,
    url: Url,
}

impl Web {
    /// Prepares requests; nothing is sent yet.
    pub(super) fn new(url: Url) -> Result<Self, String> {
        // Fails only when a provider is installed already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let builder = Client::builder()
            .connect_timeout(WAIT)
            .read_timeout(WAIT)
            .user_agent(concat!("clara-ingest-worker/", env!("CARGO_PKG_VERSION")));
        let builder = match url.scheme() {
            // Plain HTTP is for servers nearby, as elsewhere.
            "http" => builder.no_proxy().tls_certs_only([]),
            _ => builder,
        };
        let client =
            builder.build().map_err(|error| format!("no client can be made: {}", http::chain(&error)))?;
        Ok(Self { client, url })
    }

    /// What the server says of the file.
    pub(super) async fn look(&self) -> Result<RemoteFile, Failed> {
        let response = self.ask(self.client.get(self.url.clone())).await?;
        let headers = response.headers();
        let kind = content_type(headers);
        let name = name(&self.url, headers, kind);
        if kind == "text/html" && !may_be_html(&name) {
            return Err(Failed::Final(web_page(&name)));
        }
        let entity = entity(headers);
        Ok(RemoteFile { name, location: self.url.to_string(), size: response.content_length(), entity })
    }

    /// Reads the file on to its end.
    pub(super) async fn read_on(&self, file: &RemoteFile, partial: &mut Partial) -> Result<(), Failed> {
        let mut request = self.client.get(self.url.clone());
        if let Some(entity) = partial.entity().filter(|_| partial.bytes() > 0) {
            request = request.header(RANGE, format!("bytes={}-", partial.bytes())).header(IF_RANGE, entity);
        }
        let mut response = self.ask(request).await?;
        if !goes_on(&response, partial.bytes()) {
            partial.restart(entity(response.headers())).map_err(Failed::Disk)?;
        }
        let expected = response.content_length().map(|left| partial.bytes() + left);
        while let Some(bytes) = response.chunk().await.map_err(|error| again(&error))? {
            if partial.bytes() == 0 && begins_as_html(&bytes) && !may_be_html(&file.name) {
                return Err(Failed::Final(web_page(&file.name)));
            }
            partial.write(&bytes).map_err(Failed::Disk)?;
        }
        match expected.filter(|expected| *expected != partial.bytes()) {
            None => Ok(()),
            Some(expected) => {
                let problem = format!("{} bytes came, but {expected} were announced", partial.bytes());
                Err(Failed::Again { problem, pause: None })
            }
        }
    }

    /// The answer, if it is a success.
    async fn ask(&self, request: RequestBuilder) -> Result<Response, Failed> {
        let response = request.send().await.map_err(|error| unsent(&error, &self.url))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let problem = format!("the server answers {status}");
        match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(Failed::Final(format!(
                "{problem}; only files that need no password are read by URL, others by s3:// or gs://, or from a folder"
            ))),
            StatusCode::NOT_FOUND | StatusCode::GONE => {
                Err(Failed::Final(format!("{problem}: there is no such file; correct the URL")))
            }
            StatusCode::REQUEST_TIMEOUT
            | StatusCode::TOO_EARLY
            | StatusCode::TOO_MANY_REQUESTS
            | StatusCode::RANGE_NOT_SATISFIABLE => {
                Err(Failed::Again { problem, pause: http::retry_after(response.headers()) })
            }
            _ if status.is_server_error() => {
                Err(Failed::Again { problem, pause: http::retry_after(response.headers()) })
            }
            _ => Err(Failed::Final(format!("{problem}; expected the file"))),
        }
    }
}

/// Whether an answer continues after `bytes` bytes.
fn goes_on(response: &Response, bytes: u64) -> bool {
    let start = response
        .headers()
        .get(CONTENT_RANGE)
        .and_then(|range| range.to_str().ok())
        .and_then(|range| range.strip_prefix("bytes ")?.split_once('-')?.0.parse::<u64>().ok());
    response.status() == StatusCode::PARTIAL_CONTENT && bytes > 0 && start == Some(bytes)
}

fn unsent(error: &reqwest::Error, url: &Url) -> Failed {
    let Some(cause) = http::tls_cause(error) else { return again(error) };
    let host = url.host_str().unwrap_or_default();
    match cause {
        rustls::Error::InvalidCertificate(
            rustls::CertificateError::NotValidForName
            | rustls::CertificateError::NotValidForNameContext { .. },
        ) => Failed::Final(format!(
            "the certificate is another host's than {host} ({cause}); use the name that the certificate has"
        )),
        rustls::Error::InvalidCertificate(_) => Failed::Final(format!(
            "the certificate of {host} is not trusted ({cause}); let this machine trust its authority, or renew it"
        )),
        _ => again(error),
    }
}

fn again(error: &reqwest::Error) -> Failed {
    Failed::Again { problem: http::chain(error), pause: None }
}

/// What tells this content from another, if the server says so: a strong `ETag` or the time of its last change.
fn entity(headers: &HeaderMap) -> Option<String> {
    let text = |name: HeaderName| headers.get(name)?.to_str().ok().map(str::to_owned);
    text(ETAG).filter(|etag| !etag.starts_with("W/")).or_else(|| text(LAST_MODIFIED))
}

fn content_type(headers: &HeaderMap) -> &str {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim()
}

/// The name of the file: from the URL, from what the server calls it, or by what it holds.
fn name(url: &Url, headers: &HeaderMap, kind: &str) -> String {
    let is_known = |name: &String| FileKind::of(Path::new(name)).is_some();
    let last = url.path_segments().and_then(|mut parts| parts.next_back()).filter(|last| !last.is_empty());
    let in_url = decoded(last.unwrap_or("index"));
    let given = headers.get(CONTENT_DISPOSITION).and_then(|value| value.to_str().ok()).and_then(|value| {
        let name = value.split(';').find_map(|part| part.trim().strip_prefix("filename="))?;
        Some(decoded(name.trim_matches('"')))
    });
    let by_kind = ENDINGS.iter().find(|(known, _)| *known == kind).map(|(_, end)| format!("{in_url}.{end}"));
    [Some(in_url.clone()), given, by_kind].into_iter().flatten().find(is_known).unwrap_or(in_url)
}

/// A part of a URL as the name of a file, without what would lead elsewhere.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let hex = after.get(..2).filter(|_| *first == b'%').and_then(|hex| str::from_utf8(hex).ok());
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = after.get(2..).unwrap_or_default();
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    let name = String::from_utf8_lossy(&bytes)
        .replace(|char: char| char == '/' || char == '\\' || char.is_control(), "_");
    name.trim_start_matches('.').to_owned()
}

fn may_be_html(name: &str) -> bool {
    let name = name.to_lowercase();
    let name = name.trim_end_matches(".gz").trim_end_matches(".zst");
    [".html", ".htm", ".xhtml"].iter().any(|end| name.ends_with(end))
}

fn begins_as_html(bytes: &[u8]) -> bool {
    let head: Vec<u8> = bytes.trim_ascii_start().iter().take(15).map(u8::to_ascii_lowercase).collect();
    head.starts_with(b"<!doctype html") || head.starts_with(b"<html")
}

fn web_page(name: &str) -> String {
    format!(
        "a web page came where the file {name} was expected, as of a login or an error; open the URL in a browser and give \
         the one of the file itself"
    )
}
