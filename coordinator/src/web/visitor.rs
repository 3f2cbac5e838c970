//! Who looks at the pages: the name that they gave once, and the token that their forms carry.

use std::convert::Infallible;

use axum::{
    Form,
    body::Bytes,
    extract::{FromRequest, FromRequestParts, Query, Request},
    http::{
        HeaderMap, HeaderValue,
        header::{COOKIE, SET_COOKIE},
        request::Parts,
    },
    response::{IntoResponse, Redirect, Response},
};
use maud::{Markup, html};
use serde::{Deserialize, de::DeserializeOwned};
use uuid::Uuid;

use super::{
    Page, Section,
    problem::{PageError, Problem},
};

const NAME: &str = "clara_name";
const TOKEN: &str = "clara_token";
const LONGEST_NAME: usize = 80;
/// A year.
const NAME_LASTS_SECONDS: u32 = 31_536_000;

/// Who looks at a page.
#[derive(Debug, Clone, Default)]
pub(crate) struct Visitor {
    name: Option<String>,
    token: String,
    is_new: bool,
}

impl Visitor {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let name = cookie(headers, NAME).and_then(decoded);
        match cookie(headers, TOKEN).filter(|token| token.parse::<Uuid>().is_ok()) {
            Some(token) => Self { name, token: token.to_owned(), is_new: false },
            None => Self { name, token: Uuid::new_v4().to_string(), is_new: true },
        }
    }

    /// The name for the audit log, if it was given.
    pub(crate) fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// The name, or an error that asks for it.
    pub(crate) fn named(&self) -> Result<&str, PageError> {
        self.name().ok_or_else(|| PageError::from(Problem::bad_request("say who you are first, at /name")))
    }

    /// The hidden field that every form must have.
    pub(crate) fn token_field(&self) -> Markup {
        html! { input type="hidden" name="token" value=(self.token); }
    }

    pub(super) fn new_token_cookie(&self) -> Option<HeaderValue> {
        let cookie = format!("{TOKEN}={}; Path=/; HttpOnly; SameSite=Strict", self.token);
        self.is_new.then(|| HeaderValue::from_str(&cookie).ok()).flatten()
    }
}

impl<S: Sync> FromRequestParts<S> for Visitor {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(parts.extensions.get::<Self>().cloned().unwrap_or_default())
    }
}

/// A form of one of our pages: it carries the token of the cookie, which no other site knows.
#[derive(Debug)]
pub(crate) struct SignedForm<T>(pub(crate) T);

#[derive(Deserialize)]
struct Token {
    #[serde(default)]
    token: String,
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for SignedForm<T> {
    type Rejection = PageError;

    async fn from_request(request: Request, state: &S) -> Result<Self, PageError> {
        let visitor = request.extensions().get::<Visitor>().cloned().unwrap_or_default();
        let unreadable = |error: &dyn std::fmt::Display| {
            PageError::from(Problem::bad_request(&format!("the form cannot be read: {error}")))
        };
        // The kind of the body is checked by the form's own extractor.
        let (parts, body) = request.into_parts();
        let body =
            Bytes::from_request(Request::new(body), state).await.map_err(|error| unreadable(&error))?;
        let form = Request::from_parts(parts, body.clone().into());
        let Form(Token { token }) =
            Form::from_request(form, state).await.map_err(|error| unreadable(&error))?;
        if visitor.is_new || token != visitor.token {
            return Err(Problem::forbidden(
                "the form is too old, or comes from elsewhere; load its page again",
            )
            .into());
        }
        serde_urlencoded::from_bytes(&body).map(Self).map_err(|error| unreadable(&error))
    }
}

/// Where to go on after the name was given.
#[derive(Debug, Deserialize)]
pub(super) struct Next {
    #[serde(default)]
    next: String,
}

/// The name as given.
#[derive(Debug, Deserialize)]
pub(super) struct Given {
    name: String,
    #[serde(default)]
    next: String,
}

/// Asks who looks.
pub(super) async fn ask(visitor: Visitor, Query(Next { next }): Query<Next>) -> Response {
    let body = html! {
        h1 { "Who are you?" }
        p { "Your name stands beside what you decide in the audit log. It is kept in a cookie of this browser." }
        form method="post" action="/name" class="stack" {
            (visitor.token_field())
            input type="hidden" name="next" value=(local(&next));
            label { "Name "
                input name="name" required maxlength=(LONGEST_NAME) autocomplete="name" autofocus
                    value=[visitor.name()];
            }
            button { "Keep" }
        }
    };
    Page::new("Name", Section::None).show(&visitor, &body)
}

/// Keeps the name in a cookie.
pub(super) async fn keep(SignedForm(Given { name, next }): SignedForm<Given>) -> Result<Response, PageError> {
    let name = name.trim();
    let usable = !name.is_empty() && name.chars().count() <= LONGEST_NAME && !name.contains(char::is_control);
    if !usable {
        let message = format!("a name has 1 to {LONGEST_NAME} characters and no control characters");
        return Err(Problem::bad_request(&message).into());
    }
    let value = serde_urlencoded::to_string([("n", name)]).unwrap_or_default();
    let value = value.trim_start_matches("n=");
    let cookie = format!("{NAME}={value}; Path=/; Max-Age={NAME_LASTS_SECONDS}; HttpOnly; SameSite=Strict");
    Ok(([(SET_COOKIE, cookie)], Redirect::to(local(&next))).into_response())
}

/// Only paths of this server are gone on to. Browsers take `\` for `/` and leave out tabs and ends of lines.
fn local(next: &str) -> &str {
    let is_confusing = |c: char| c == '\\' || c.is_control();
    let is_local = next.starts_with('/') && !next.starts_with("//") && !next.contains(is_confusing);
    if is_local { next } else { "/" }
}

fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let all = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = all.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(key, _)| *key == name).map(|(_, value)| value)
}

fn decoded(value: &str) -> Option<String> {
    let pairs: Vec<(String, String)> = serde_urlencoded::from_str(&format!("n={value}")).ok()?;
    let name = pairs.into_iter().next()?.1;
    let usable = !name.trim().is_empty() && !name.contains(char::is_control);
    usable.then(|| name.chars().take(LONGEST_NAME).collect())
}
