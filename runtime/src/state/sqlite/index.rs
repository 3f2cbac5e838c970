//! Ordered sets of names in SQLite.

use rusqlite::{Connection, Transaction, params};

use super::{CommitRefused, sql_number};
use crate::{
    sqlite::sql_limit,
    state::{IndexChange, Limit, Order, Page, StateError},
};

/// Refuses the commit when an index has too many members.
pub(super) fn check(transaction: &Transaction<'_>, limits: &[Limit]) -> Result<(), CommitRefused> {
    for Limit { index, below } in limits {
        // Counts no further than it must.
        let found: u64 = transaction.query_row(
            "SELECT count(*) FROM (SELECT 1 FROM members WHERE of = ?1 LIMIT ?2)",
            params![index, sql_number(*below)],
            |row| row.get(0),
        )?;
        if found >= *below {
            return Err(CommitRefused::State(StateError::LimitReached {
                index: index.clone(),
                below: *below,
            }));
        }
    }
    Ok(())
}

pub(super) fn change(transaction: &Transaction<'_>, changes: &[IndexChange]) -> Result<(), rusqlite::Error> {
    for IndexChange { index, member, present } in changes {
        let statement = if *present {
            "INSERT OR IGNORE INTO members (of, member) VALUES (?1, ?2)"
        } else {
            "DELETE FROM members WHERE of = ?1 AND member = ?2"
        };
        transaction.execute(statement, params![index, member])?;
    }
    Ok(())
}

pub(super) fn members(
    connection: &Connection,
    index: &str,
    page: &Page,
) -> Result<Vec<String>, rusqlite::Error> {
    let query = match page.order {
        Order::Ascending => {
            "SELECT member FROM members WHERE of = ?1 AND (?2 IS NULL OR member > ?2) ORDER BY member LIMIT ?3"
        }
        Order::Descending => {
            "SELECT member FROM members WHERE of = ?1 AND (?2 IS NULL OR member < ?2)
             ORDER BY member DESC LIMIT ?3"
        }
    };
    connection
        .prepare(query)?
        .query_map(params![index, page.after, sql_limit(page.limit)], |row| row.get(0))?
        .collect()
}

pub(super) fn size(connection: &Connection, index: &str) -> Result<u64, rusqlite::Error> {
    connection.query_row("SELECT count(*) FROM members WHERE of = ?1", [index], |row| row.get(0))
}
