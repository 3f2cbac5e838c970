//! Documents of a PostgreSQL: rows of a table or query, page by page in the order of a key that never repeats.

mod connect;
mod plan;
mod problem;
#[cfg(test)]
mod tests;
mod tls;

use std::{fmt, pin::pin};

use async_trait::async_trait;
use clara_runtime::config::{RemoteSettings, ThemisRoute};
use futures::TryStreamExt;
use serde_json::{Map, Value, json};
use tokio_postgres::{Client, Row, Statement, error::SqlState, types::Type};
use tracing::warn;

use self::{
    connect::{Address, Connection, Failure},
    plan::Plan,
    problem::Trouble,
};
use super::{
    FetchError, Fetched, Page, Remote, RemoteRequest, http::section, mapping, mapping::Mapping,
    patience::Patience, unused, waiting,
};
use crate::source::MOST_DOCUMENT_BYTES;

/// A page ends early beyond so many bytes of documents.
const PAGE_BYTES: u64 = 16 << 20;

/// Rows of a PostgreSQL.
///
/// Each page is a read-only transaction of its own. The cursor is the key of the last row: rows that come or go meanwhile neither
/// repeat nor hide others.
pub struct Postgres {
    source: String,
    settings: RemoteSettings,
    address: Address,
    mapping: Mapping,
    patience: Patience,
    connection: Option<Connection>,
    plan: Option<Plan>,
    total: Option<u64>,
    after: Option<String>,
    is_at_end: bool,
}

impl fmt::Debug for Postgres {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Postgres")
            .field("settings", &self.settings)
            .field("after", &self.after)
            .finish_non_exhaustive()
    }
}

impl Postgres {
    /// Prepares the reading, after `cursor` where one is given; nothing is sent yet.
    ///
    /// # Errors
    /// [`FetchError::Refused`] when the settings or the cursor cannot be used.
    pub fn open(request: &RemoteRequest, cursor: Option<&Value>) -> Result<Self, FetchError> {
        let refuse = |problem| FetchError::Refused { source_name: request.source.clone(), problem };
        let settings = &request.settings;
        let foreign = [
            ("tenant", settings.tenant.is_some()),
            ("database", settings.database.is_some()),
            ("user", settings.user.is_some()),
            ("route", settings.route != ThemisRoute::Auto),
            // Pages follow each other by their keys, over one connection.
            ("parallel", settings.parallel != RemoteSettings::default().parallel),
        ];
        unused("postgres", &foreign).map_err(refuse)?;
        if settings.query.is_some() && settings.table.is_some() {
            return Err(refuse("`table` and `query` are both given; leave one of them out".to_owned()));
        }
        let after = match cursor {
            None => None,
            Some(cursor) => {
                let after = cursor.get("after").and_then(Value::as_str);
                Some(
                    after
                        .ok_or_else(|| refuse("its cursor is not one of PostgreSQL; start anew".to_owned()))?
                        .to_owned(),
                )
            }
        };
        Ok(Self {
            address: Address::new(settings, &section(&request.source)).map_err(refuse)?,
            mapping: Mapping::new(settings, &[], &[]).map_err(refuse)?,
            patience: Patience::new(settings.patience.0),
            source: request.source.clone(),
            settings: settings.clone(),
            connection: None,
            plan: None,
            total: None,
            after,
            is_at_end: false,
        })
    }

    /// One page, or why there is none. A connection that failed is not used again.
    async fn try_page(&mut self) -> Result<Read, Trouble> {
        let mut connection = match self.connection.take() {
            Some(open) => open,
            None => self.address.connect().await?,
        };
        let asked = |failure| problem::asking(failure, self.address.user());
        let (settings, mapping) = (&self.settings, &self.mapping);
        let plan = if let Some(plan) = &self.plan {
            plan
        } else {
            let (plan, total) =
                connection.run(|client| look_around(client, settings, mapping)).await.map_err(asked)?;
            self.total = total;
            self.plan.insert(plan)
        };
        let after = self.after.as_deref();
        let read = connection.run(|client| read_page(client, settings, plan, after)).await.map_err(asked)?;
        self.connection = Some(connection);
        Ok(read)
    }

    /// Waits before the next try, where one may help.
    async fn bear(&mut self, trouble: Trouble) -> Result<(), FetchError> {
        let source_name = self.source.clone();
        let problem = match trouble {
            Trouble::Lasting(problem) => return Err(FetchError::Refused { source_name, problem }),
            Trouble::Passing(problem) => problem,
        };
        let Some(wait) = self.patience.wait(None) else {
            let problem = format!(
                "{problem}; nothing new came for {:?}; check the server, or raise {}.patience",
                self.settings.patience.0,
                section(&self.source)
            );
            return Err(FetchError::Unavailable { source_name, problem });
        };
        warn!(wait_ms = wait.as_millis(), "{source_name} failed and is asked again: {problem}");
        waiting::asked_again(&problem, self.patience.ends_at());
        tokio::time::sleep(wait).await;
        Ok(())
    }

    /// The document of a row.
    fn document(&self, row: &Row, key: &str) -> Fetched {
        let broken = |problem: String| Fetched::Broken { id: key.to_owned(), problem };
        let mut object = Map::new();
        for (number, field) in self.plan.iter().flat_map(|plan| &plan.fields).enumerate() {
            // Key and size come first.
            let value = match row.try_get::<_, Option<String>>(number + 2) {
                Ok(None) => Value::Null,
                Ok(Some(text)) if field.is_json => match serde_json::from_str(&text) {
                    Ok(value) => value,
                    Err(_) => {
                        return broken(format!("the column `{}` holds JSON that cannot be read", field.name));
                    }
                },
                Ok(Some(text)) => Value::String(text),
                Err(_) => {
                    return broken(format!(
                        "the column `{}` is no UTF-8; let the database know its encoding",
                        field.name
                    ));
                }
            };
            object.insert(field.name.clone(), value);
        }
        let path = self.mapping.path("id");
        let id = mapping::find(&object, path).and_then(|id| mapping::text_of(id, path).ok());
        self.mapping.record(id.as_deref().unwrap_or(key), &object)
    }
}

#[async_trait]
impl Remote for Postgres {
    async fn next_page(&mut self) -> Result<Option<Page>, FetchError> {
        if self.is_at_end {
            return Ok(None);
        }
        let read = loop {
            match self.try_page().await {
                Ok(read) => break read,
                Err(trouble) => self.bear(trouble).await?,
            }
        };
        self.patience.news();
        self.is_at_end = read.is_last;
        let Some(last) = read.rows.last() else { return Ok(None) };
        self.after = Some(last.key.clone());
        let documents = read.rows.iter().map(|row| match &row.row {
            Some(values) => self.document(values, &row.key),
            None => Fetched::Broken {
                id: row.key.clone(),
                problem: format!("it takes {} bytes, expected at most {MOST_DOCUMENT_BYTES}", row.size),
            },
        });
        Ok(Some(Page {
            documents: documents.collect(),
            cursor: json!({ "after": last.key }),
            keys: None,
            total: self.total,
        }))
    }

    /// Rows do not tell when they changed.
    fn state(&self) -> Option<Value> {
        None
    }
}

/// The rows of a page, and whether others follow.
struct Read {
    rows: Vec<Keyed>,
    is_last: bool,
}

/// A row; without its values when they are too large.
struct Keyed {
    key: String,
    size: u64,
    row: Option<Row>,
}

async fn begin(client: &Client, settings: &RemoteSettings) -> Result<(), Failure> {
    let timeout = settings.timeout.0.as_millis();
    // What a text of a time or number looks like must not depend on the server's settings: keys are compared by it.
    // A database without an encoding gives its bytes as they are, so that one that is no UTF-8 breaks its row alone.
    let begin = format!(
        "BEGIN READ ONLY; SET LOCAL statement_timeout = {timeout}; SET LOCAL TimeZone = 'UTC'; \
         SET LOCAL DateStyle = 'ISO, YMD'; SET LOCAL IntervalStyle = 'postgres'; SET LOCAL extra_float_digits = 1; \
         SELECT set_config('client_encoding', CASE current_setting('server_encoding') \
         WHEN 'SQL_ASCII' THEN 'SQL_ASCII' ELSE 'UTF8' END, true)"
    );
    Ok(client.batch_execute(&begin).await?)
}

/// Which columns there are and how many rows; refuses what could not be read whole.
async fn look_around(
    client: &Client,
    settings: &RemoteSettings,
    mapping: &Mapping,
) -> Result<(Plan, Option<u64>), Failure> {
    let any_row = any_row(client, settings).await?;
    let plan = Plan::new(settings, mapping, any_row.columns()).map_err(Failure::Unusable)?;
    begin(client, settings).await?;
    let row = client.query_typed_one(&plan.without_key(), &[]).await?;
    if row.try_get(0)? {
        return Err(Failure::Unusable(
            "some rows have no key (NULL), so that they would be left out; give a `key` without NULL, or exclude them by `filter`".to_owned(),
        ));
    }
    let total = match client.query_typed_one(&plan.count(), &[]).await {
        Ok(row) => u64::try_from(row.try_get::<_, i64>(0)?).ok(),
        Err(error) if error.as_db_error().is_some() => {
            warn!("the rows are not counted, so that progress has no total: {}", problem::causes(&error));
            None
        }
        Err(error) => return Err(error.into()),
    };
    // Ends a failed transaction as well.
    client.batch_execute("COMMIT").await?;
    Ok((plan, total))
}

/// The table or query, prepared: it knows its columns.
async fn any_row(client: &Client, settings: &RemoteSettings) -> Result<Statement, Failure> {
    begin(client, settings).await?;
    let prepared = client.prepare(&format!("SELECT * FROM {} LIMIT 0", plan::relation(settings))).await;
    let statement = match prepared {
        Ok(statement) => statement,
        Err(error) if settings.query.is_none() && error.code() == Some(&SqlState::UNDEFINED_TABLE) => {
            client.batch_execute("ROLLBACK").await?;
            return Err(Failure::Unusable(missing_table(client, settings).await?));
        }
        Err(error) => return Err(error.into()),
    };
    client.batch_execute("COMMIT").await?;
    Ok(statement)
}

async fn missing_table(client: &Client, settings: &RemoteSettings) -> Result<String, Failure> {
    let tables = "SELECT table_schema || '.' || table_name FROM information_schema.tables \
                  WHERE table_schema NOT IN ('pg_catalog', 'information_schema') ORDER BY 1 LIMIT 20";
    let rows = client.query_typed(tables, &[]).await?;
    let found: Result<Vec<String>, _> = rows.iter().map(|row| row.try_get(0)).collect();
    let (found, table) = (found?, settings.table.as_deref().unwrap_or_default());
    let found = if found.is_empty() { "none that this user may read".to_owned() } else { found.join(", ") };
    Ok(format!(
        "there is no table `{table}`; found {found}; correct `table` (SCHEMA.TABLE, spelt as in the catalogue)"
    ))
}

/// The rows after a key; ends early when they take much memory.
async fn read_page(
    client: &Client,
    settings: &RemoteSettings,
    plan: &Plan,
    after: Option<&str>,
) -> Result<Read, Failure> {
    begin(client, settings).await?;
    let parameters = after.map(|after| (after, Type::TEXT));
    let stream = client.query_typed_raw(&plan.page(after.is_none()), parameters).await?;
    let mut stream = pin!(stream);
    let (mut read, mut bytes) = (Read { rows: Vec::new(), is_last: true }, 0);
    while let Some(row) = stream.try_next().await? {
        let key: String = row.try_get::<_, Option<String>>(0)?.unwrap_or_default();
        let size = u64::try_from(row.try_get::<_, i64>(1)?).unwrap_or_default();
        if read.rows.last().map(|row| row.key.as_str()).or(after) == Some(key.as_str()) {
            return Err(Failure::Unusable(format!(
                "the key `{key}` stands in more than one row, so that rows would be lost; give a `key` that never repeats, or a \
                 `query` that yields each document once"
            )));
        }
        if read.rows.len() >= settings.page || bytes > PAGE_BYTES {
            read.is_last = false;
            break;
        }
        let is_readable = size <= MOST_DOCUMENT_BYTES;
        bytes += if is_readable { size } else { 0 };
        read.rows.push(Keyed { key, size, row: is_readable.then_some(row) });
    }
    // The transaction ends after the last row came; a stream that ended must not be asked again.
    while !read.is_last && stream.try_next().await?.is_some() {}
    client.batch_execute("COMMIT").await?;
    Ok(read)
}
