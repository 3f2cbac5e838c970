//! Records and their parts.

use rusqlite::{Connection, OptionalExtension, Transaction, params};

use super::{CommitRefused, sql_number};
use crate::state::{Body, Record, RecordKey, StateError, Write};

/// The records with these keys, all of one moment; `None` for those that are missing.
pub(super) fn load(
    connection: &Connection,
    keys: &[RecordKey],
) -> Result<Vec<Option<Record>>, rusqlite::Error> {
    // A record and its parts are two reads, and other processes write between them.
    let moment = connection.unchecked_transaction()?;
    let mut one = moment.prepare("SELECT version, body FROM records WHERE kind = ?1 AND id = ?2")?;
    let mut its_parts = moment.prepare("SELECT name, body FROM parts WHERE kind = ?1 AND id = ?2")?;
    let mut found = Vec::with_capacity(keys.len());
    for key in keys {
        let named = params![key.kind, key.id];
        let record = one.query_row(named, |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
        let Some((version, body)) = record else {
            found.push(None);
            continue;
        };
        let parts = its_parts.query_map(named, |row| Ok((row.get(0)?, row.get(1)?)))?;
        let parts = parts.collect::<Result<_, _>>()?;
        found.push(Some(Record { id: key.id.clone(), version, body, parts }));
    }
    Ok(found)
}

pub(super) fn write(transaction: &Transaction<'_>, write: &Write) -> Result<(), CommitRefused> {
    let key = &write.key;
    let found: Option<u64> = transaction
        .query_row(
            "SELECT version FROM records WHERE kind = ?1 AND id = ?2",
            params![key.kind, key.id],
            |row| row.get(0),
        )
        .optional()?;
    if found != write.expected {
        let conflict = StateError::Conflict { key: key.clone(), expected: write.expected, found };
        return Err(CommitRefused::State(conflict));
    }
    match &write.body {
        Body::Keep => {}
        Body::Put { body, parts } => {
            transaction.execute(
                "INSERT INTO records (kind, id, version, body) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT (kind, id) DO UPDATE SET version = excluded.version, body = excluded.body",
                params![key.kind, key.id, sql_number(found.unwrap_or(0).saturating_add(1)), body],
            )?;
            for (name, body) in parts {
                transaction.execute(
                    "INSERT INTO parts (kind, id, name, body) VALUES (?1, ?2, ?3, ?4)
                     ON CONFLICT (kind, id, name) DO UPDATE SET body = excluded.body",
                    params![key.kind, key.id, name, body],
                )?;
            }
        }
        Body::Remove => {
            for table in ["records", "parts"] {
                let remove = format!("DELETE FROM {table} WHERE kind = ?1 AND id = ?2");
                transaction.execute(&remove, params![key.kind, key.id])?;
            }
        }
    }
    Ok(())
}
