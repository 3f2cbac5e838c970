//! Who may use the pages, from where writes may come, and what every answer tells browsers.

use std::net::{IpAddr, SocketAddr};

use axum::{
    extract::{ConnectInfo, Request, State},
    http::{
        HeaderMap, HeaderName, HeaderValue, Method,
        header::{
            CONTENT_SECURITY_POLICY, HOST, ORIGIN, REFERRER_POLICY, SET_COOKIE, X_CONTENT_TYPE_OPTIONS,
        },
        uri::Authority,
    },
    middleware::Next,
    response::{IntoResponse, Response},
};
use clara_runtime::config::PageAudience;

use super::{problem::Problem, visitor::Visitor};

/// No script and no style but our files, nothing from elsewhere, and no page around ours.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
     form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
);
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const CROSS_ORIGIN_RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// Lets requests in, or not.
#[derive(Debug, Clone, Copy)]
pub(super) struct Guard {
    loopback_only: bool,
}

impl Guard {
    /// None when nobody may use the pages.
    pub(super) fn for_audience(audience: PageAudience) -> Option<Self> {
        match audience {
            PageAudience::Loopback => Some(Self { loopback_only: true }),
            PageAudience::Everyone => Some(Self { loopback_only: false }),
            PageAudience::Nobody => None,
        }
    }

    fn refusal(self, request: &Request) -> Option<Problem> {
        let headers = request.headers();
        let host = headers.get(HOST).and_then(authority).or_else(|| request.uri().authority().cloned());
        if self.loopback_only {
            let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
            if !peer.is_some_and(|ConnectInfo(peer)| peer.ip().to_canonical().is_loopback()) {
                return Some(Problem::forbidden(
                    "pages are for programs of the same machine; the setting serve.pages = \"everyone\" opens them",
                ));
            }
            // Without it a page elsewhere could have its own name lead here, and read what is answered.
            if !host.as_ref().is_some_and(is_loopback_name) {
                return Some(Problem::forbidden(
                    "the host of the request is not this machine's loopback address; use 127.0.0.1 or localhost",
                ));
            }
        }
        let writes = !matches!(*request.method(), Method::GET | Method::HEAD);
        (writes && !is_same_origin(headers, host.as_ref())).then(|| {
            Problem::forbidden("changes are taken from this server's own pages and from programs only")
        })
    }
}

/// Lets a request in if it may, tells it who visits, and adds what every answer tells.
pub(super) async fn watch(State(guard): State<Guard>, mut request: Request, next: Next) -> Response {
    let visitor = Visitor::of(request.headers());
    let mut answer = if let Some(refused) = guard.refusal(&request) {
        refused.into_response()
    } else {
        request.extensions_mut().insert(visitor.clone());
        next.run(request).await
    };
    let is_page =
        answer.headers().get("content-type").is_some_and(|kind| kind.as_bytes().starts_with(b"text/html"));
    let headers = answer.headers_mut();
    headers.entry(CONTENT_SECURITY_POLICY).or_insert(POLICY);
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    headers.insert(CROSS_ORIGIN_RESOURCE_POLICY, HeaderValue::from_static("same-origin"));
    if is_page && let Some(cookie) = visitor.new_token_cookie() {
        headers.append(SET_COOKIE, cookie);
    }
    answer
}

fn authority(value: &HeaderValue) -> Option<Authority> {
    value.to_str().ok()?.parse().ok()
}

fn is_loopback_name(host: &Authority) -> bool {
    let name = host.host();
    let address = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    name.eq_ignore_ascii_case("localhost")
        || address.is_ok_and(|address| address.to_canonical().is_loopback())
}

/// Browsers say where a write comes from, in one header or the other; programs say nothing.
fn is_same_origin(headers: &HeaderMap, host: Option<&Authority>) -> bool {
    if let Some(site) = headers.get(SEC_FETCH_SITE) {
        return site == "same-origin" || site == "none";
    }
    let Some(origin) = headers.get(ORIGIN) else { return true };
    let origin =
        origin.to_str().ok().and_then(|origin| origin.split_once("://")).map(|(_, authority)| authority);
    origin.and_then(|origin| origin.parse::<Authority>().ok()).is_some_and(|origin| Some(&origin) == host)
}
