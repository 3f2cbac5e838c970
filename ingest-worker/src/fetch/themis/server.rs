//! One table of a ThemisDB, as the settings describe it.

use clara_runtime::config::RemoteSettings;
use serde_json::Value;

use super::record::Mapping;
use crate::fetch::{
    FetchError, RemoteRequest,
    http::{Answer, Ask, Http},
};

/// A table, how it is asked, and how its documents are read.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) http: Http,
    pub(super) table: String,
    pub(super) mapping: Mapping,
    /// Stored column that orders the rows and holds the primary key.
    pub(super) key: String,
    /// AQL condition on `d`.
    pub(super) filter: Option<String>,
    pub(super) domain: String,
    pub(super) page: usize,
    pub(super) parallel: usize,
}

impl Server {
    /// Prepares requests; nothing is asked yet.
    ///
    /// # Errors
    /// [`FetchError::Refused`] when the settings cannot be used.
    pub(super) fn new(request: &RemoteRequest) -> Result<Self, FetchError> {
        let settings = &request.settings;
        let http = Http::new(&request.source, settings)?;
        if let Some(name) = useless(settings) {
            return Err(
                http.refused(format!("{}.{name} means nothing to ThemisDB; remove it", http.section()))
            );
        }
        let Some(table) = settings.table.clone() else {
            return Err(http.refused(format!("the table is not given; name it in {}.table", http.section())));
        };
        let mapping = Mapping::new(settings)
            .map_err(|problem| http.refused(format!("{problem} in {}.fields", http.section())))?;
        let key = settings.key.clone().unwrap_or_else(|| mapping.id().unwrap_or("id").to_owned());
        Ok(Self {
            http,
            table,
            mapping,
            key,
            filter: settings.filter.clone(),
            domain: request.domain.to_string(),
            page: settings.page,
            parallel: settings.parallel,
        })
    }

    /// Asks for a JSON object; `Err` within is a refusal or a body that is too long.
    ///
    /// # Errors
    /// As [`Http::ask`]; also when the answer is no JSON object.
    pub(super) async fn json(&self, ask: &Ask) -> Result<Result<Value, Answer>, FetchError> {
        let body = match self.http.ask(ask).await? {
            Answer::Body(body) => body,
            other => return Ok(Err(other)),
        };
        match serde_json::from_slice::<Value>(&body) {
            Ok(value) if value.is_object() => Ok(Ok(value)),
            _ => Err(self.http.refused(format!(
                "the answer is no JSON object, so that this may be no ThemisDB; correct {}.url",
                self.http.section()
            ))),
        }
    }

    /// The error of a route that the server does not serve.
    pub(super) fn not_served(&self, what: &str, answer: &Answer, remedy: &str) -> FetchError {
        let said = match answer {
            Answer::Refused { status, message } => format!("it answers {status}: {message}"),
            Answer::TooLong => "its answer is too long".to_owned(),
            Answer::Body(_) => "its answer is not understood".to_owned(),
        };
        self.http.refused(format!("{what} of table `{}` fails, {said}; {remedy}", self.table))
    }

    /// The error of a table whose keys lead nowhere.
    pub(super) fn all_gone(&self, keys: u64) -> FetchError {
        self.http.refused(format!(
            "none of the {keys} keys that were found leads to a document at /entities/{}:KEY; correct table and key in {}",
            self.table,
            self.http.section()
        ))
    }

    /// The error of documents that all lack a text; `problem` is one of theirs.
    pub(super) fn no_text(&self, documents: u64, problem: &str) -> FetchError {
        self.http.refused(format!(
            "all of the first {documents} documents lack a text: {problem}; name the field in {}.fields, e.g. \
             text = \"content\"",
            self.http.section()
        ))
    }
}

/// A setting that only other kinds of server have a use for.
fn useless(settings: &RemoteSettings) -> Option<&'static str> {
    let given = [
        ("query", settings.query.is_some()),
        ("tenant", settings.tenant.is_some()),
        ("database", settings.database.is_some()),
        ("user", settings.user.is_some()),
    ];
    given.into_iter().find(|(_, is_given)| *is_given).map(|(name, _)| name)
}
