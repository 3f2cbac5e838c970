//! What an error of PostgreSQL means for a user, and whether it passes.

use std::error::Error;

use tokio_postgres::error::{DbError, SqlState};

use super::connect::Failure;

/// Why one request failed, in words for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Trouble {
    /// No repetition helps.
    Lasting(String),
    /// A repetition may help.
    Passing(String),
}

/// An error while connecting.
pub(super) fn connecting(error: &tokio_postgres::Error, user: &str) -> Trouble {
    if let Some(said) = error.as_db_error() {
        return of_server(said, user);
    }
    let causes = causes(error);
    if causes.contains("certificate") {
        return Trouble::Lasting(format!(
            "its certificate is not trusted: {causes}; name the authority that signed it in `ca_certificate`, and the server in \
             `url` as the certificate does"
        ));
    }
    if causes.contains("server does not support TLS") {
        return Trouble::Lasting(
            "the server speaks no TLS; turn `ssl` on in postgresql.conf, or, in a network that you trust, add ?sslmode=disable to `url`"
                .to_owned(),
        );
    }
    if causes.contains("password missing") {
        return Trouble::Lasting(format!(
            "the server wants a password of user {user}; name the environment variable with it in `token_env`"
        ));
    }
    Trouble::Passing(format!(
        "cannot connect: {causes}; check `url`, and that the server runs and may be reached"
    ))
}

/// An error of something asked for.
pub(super) fn asking(failure: Failure, user: &str) -> Trouble {
    match failure {
        Failure::Server(error) => match error.as_db_error() {
            Some(said) => of_server(said, user),
            None => Trouble::Passing(format!("the connection failed: {}", causes(&error))),
        },
        Failure::Closed => Trouble::Passing("the server ended the connection".to_owned()),
        Failure::TimedOut(limit) => Trouble::Passing(format!("no answer within {limit:?}")),
        Failure::Unusable(problem) => Trouble::Lasting(problem),
    }
}

fn of_server(said: &DbError, user: &str) -> Trouble {
    let message = said.message();
    let code = said.code();
    let advice = match *code {
        SqlState::INVALID_PASSWORD | SqlState::INVALID_AUTHORIZATION_SPECIFICATION => format!(
            "let `url` name the right user, put the password of {user} into the environment variable that `token_env` names, and \
             let pg_hba.conf allow the connection"
        ),
        SqlState::UNDEFINED_DATABASE => "correct the database in `url`".to_owned(),
        SqlState::UNDEFINED_TABLE | SqlState::INVALID_SCHEMA_NAME => {
            "correct `table` (SCHEMA.TABLE, spelt as in the catalogue) or `query`".to_owned()
        }
        SqlState::UNDEFINED_COLUMN => "correct the column in `filter` or `query`".to_owned(),
        SqlState::INSUFFICIENT_PRIVILEGE => {
            format!("grant it: GRANT SELECT ON … TO {user}, and GRANT USAGE ON SCHEMA … TO {user}")
        }
        SqlState::SYNTAX_ERROR | SqlState::AMBIGUOUS_COLUMN | SqlState::DATATYPE_MISMATCH => {
            "correct `filter` or `query`; both stand within SELECT … FROM (query) WHERE (filter)".to_owned()
        }
        SqlState::UNDEFINED_FUNCTION => {
            "correct `filter` or `query`; `key` needs a column whose type can be ordered".to_owned()
        }
        SqlState::READ_ONLY_SQL_TRANSACTION => {
            "documents are read in a read-only transaction; let `query` only read".to_owned()
        }
        SqlState::QUERY_CANCELED => {
            "raise `timeout`, lower `page`, or give `key` an index (CREATE UNIQUE INDEX)".to_owned()
        }
        _ if passes(code) => return Trouble::Passing(format!("{message} (SQLSTATE {})", code.code())),
        _ => "correct the settings of the source, or the database".to_owned(),
    };
    let at = said.hint().map(|hint| format!("; hint: {hint}")).unwrap_or_default();
    Trouble::Lasting(format!("{message} (SQLSTATE {}){at}; {advice}", code.code()))
}

/// Connection trouble (08), too little of something (53), an operator at work (57), rollbacks (40), system errors (58).
fn passes(code: &SqlState) -> bool {
    ["08", "53", "57", "40", "58"].iter().any(|class| code.code().starts_with(class))
}

/// An error with all its causes.
pub(super) fn causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let said = inner.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        cause = inner.source();
    }
    text
}
