//! URLs as they may be stored beside data and shown: without passwords, signatures and tokens.
//!
//! Whoever fetches takes the URL as it was given; manifests, lineage, logs, messages and pages take it from here.

#[cfg(test)]
mod tests;

use std::borrow::Cow;

/// What stands in place of a secret.
const HIDDEN: &str = "…";
/// What begins a parameter of a URL.
const SEPARATORS: [char; 4] = ['?', '#', '&', ';'];
/// Parameters are secret whose names, in small letters and digits alone, hold one of these, as `X-Amz-Signature` does.
const SECRET_PARTS: [&str; 11] = [
    "signature",
    "token",
    "secret",
    "passw",
    "pwd",
    "credential",
    "apikey",
    "accesskey",
    "accessid",
    "authorization",
    "session",
];
/// And those with one of these names, as `sig` of Azure.
const SECRET_NAMES: [&str; 9] = ["sig", "key", "auth", "jwt", "sas", "code", "pass", "policy", "keypairid"];
/// A value of letters and digits that long is no word, whatever its parameter is called.
const RANDOM_CHARS: usize = 40;

/// A source or endpoint as it may be stored and shown. In a URL user, password and secret parameters become `…`; anything else, as a path or
/// `@NAME`, stays as it is.
pub fn shown(place: &str) -> Cow<'_, str> {
    let Some((scheme, rest)) = place.split_once("://") else { return Cow::Borrowed(place) };
    let (authority, rest) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let (path, parameters) = rest.split_at(rest.find(SEPARATORS).unwrap_or(rest.len()));
    let mut text = format!("{scheme}://");
    match authority.rsplit_once('@') {
        Some((_, host)) => text.extend([HIDDEN, "@", host]),
        None => text.push_str(authority),
    }
    text.push_str(path);
    for parameter in parameters.split_inclusive(SEPARATORS) {
        let pair = parameter.trim_end_matches(SEPARATORS);
        match pair.split_once('=') {
            Some((name, value)) if is_secret(name, value) => text.extend([name, "=", HIDDEN]),
            Some(_) | None => text.push_str(pair),
        }
        text.push_str(parameter.split_at(pair.len()).1);
    }
    if text == place { Cow::Borrowed(place) } else { Cow::Owned(text) }
}

/// Sources as they may be shown, with commas between them.
pub fn shown_list(places: &[String]) -> String {
    places.iter().map(|place| shown(place)).collect::<Vec<_>>().join(", ")
}

fn is_secret(name: &str, value: &str) -> bool {
    let name = plain(name);
    let is_named =
        SECRET_NAMES.contains(&name.as_str()) || SECRET_PARTS.iter().any(|part| name.contains(part));
    let is_random = value.len() >= RANDOM_CHARS
        && value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_%+=".contains(&byte))
        && value.bytes().any(|byte| byte.is_ascii_digit())
        && value.bytes().any(|byte| byte.is_ascii_alphabetic());
    !value.is_empty() && (is_named || is_random)
}

/// The small letters and digits of a name; what is percent-encoded in it is a sign.
fn plain(name: &str) -> String {
    let mut plain = String::with_capacity(name.len());
    let mut letters = name.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '%' => {
                letters.nth(1);
            }
            letter if letter.is_ascii_alphanumeric() => plain.push(letter.to_ascii_lowercase()),
            _ => {}
        }
    }
    plain
}
