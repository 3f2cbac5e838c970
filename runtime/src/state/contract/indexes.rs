//! Rules about indexes and limits.

use super::{Commit, Patient, RecordKey, StateError, commit_of, fresh_name, write};
use crate::{
    contract::{Finding, ensure, unexpected},
    state::{IndexChange, Limit, Order, Page},
};

fn change(index: &str, member: &str, present: bool) -> IndexChange {
    IndexChange { index: index.to_owned(), member: member.to_owned(), present }
}

async fn members(
    store: &Patient,
    index: &str,
    after: Option<&str>,
    limit: usize,
    order: Order,
) -> Result<Vec<String>, String> {
    let page = Page { after: after.map(str::to_owned), limit, order };
    store.again(|| store.0.members(index, &page)).await.map_err(unexpected)
}

async fn size(store: &Patient, index: &str) -> Result<u64, String> {
    let asked = [index.to_owned()];
    let sizes = store.again(|| store.0.sizes(&asked)).await.map_err(unexpected)?;
    sizes.first().copied().ok_or_else(|| "no size for an index".to_owned())
}

pub(super) async fn order(store: &Patient) -> Finding {
    let index = fresh_name();
    let names = ["a", "b", "B", "ab", "\u{e4}", "9/z"];
    let add = names.iter().map(|name| change(&index, name, true));
    store.commit(&Commit { indexes: add.collect(), ..commit_of(Vec::new()) }).await.map_err(unexpected)?;
    let again = vec![change(&index, "a", true), change(&index, "b", false), change(&index, "none", false)];
    store.commit(&Commit { indexes: again, ..commit_of(Vec::new()) }).await.map_err(unexpected)?;
    let all = members(store, &index, None, 10, Order::Ascending).await?;
    ensure(all == ["9/z", "B", "a", "ab", "\u{e4}"], || format!("in order: {all:?}"))?;
    ensure(size(store, &index).await? == 5, || "its size is not 5".to_owned())?;
    let page = members(store, &index, Some("B"), 2, Order::Ascending).await?;
    ensure(page == ["a", "ab"], || format!("2 after B: {page:?}"))?;
    let back = members(store, &index, None, 2, Order::Descending).await?;
    ensure(back == ["\u{e4}", "ab"], || format!("the last 2: {back:?}"))?;
    let back = members(store, &index, Some("ab"), 9, Order::Descending).await?;
    ensure(back == ["a", "B", "9/z"], || format!("back from ab: {back:?}"))?;
    let unused = fresh_name();
    let nothing = members(store, &unused, None, 9, Order::Ascending).await?;
    let asked = [unused, index];
    let sizes = store.again(|| store.0.sizes(&asked)).await.map_err(unexpected)?;
    ensure(nothing.is_empty() && sizes == [0, 5], || format!("unused: {nothing:?}; sizes: {sizes:?}"))
}

pub(super) async fn atomicity(store: &Patient) -> Finding {
    let (index, key) = (fresh_name(), RecordKey::new(super::KIND, fresh_name()));
    let refused = Commit {
        indexes: vec![change(&index, "a", true)],
        ..commit_of(vec![write(&key, Some(3), Some("1"))])
    };
    let answer = store.commit(&refused).await;
    ensure(matches!(answer, Err(StateError::Conflict { .. })), || format!("answered {answer:?}"))?;
    ensure(size(store, &index).await? == 0, || "a refused commit changed an index".to_owned())
}

pub(super) async fn limits(store: &Patient) -> Finding {
    const BELOW: u64 = 5;
    let index = fresh_name();
    let commits: Vec<Commit> = (0..16)
        .map(|n| {
            let key = RecordKey::new(super::KIND, fresh_name());
            Commit {
                indexes: vec![change(&index, &n.to_string(), true)],
                limits: vec![Limit { index: index.clone(), below: BELOW }],
                ..commit_of(vec![write(&key, None, Some("1"))])
            }
        })
        .collect();
    let answers = futures::future::join_all(commits.iter().map(|commit| store.commit(commit))).await;
    for (commit, answer) in commits.iter().zip(&answers) {
        let key = commit.writes.first().map(|write| write.key.clone()).ok_or("a commit without a write")?;
        let stored = store.load(&key).await?.is_some();
        let expected = match answer {
            Ok(()) => true,
            Err(StateError::LimitReached { index: of, below: BELOW }) if *of == index => false,
            Err(other) => return Err(unexpected(other)),
        };
        ensure(stored == expected, || format!("answered {answer:?}, stored: {stored}"))?;
    }
    let admitted = answers.iter().filter(|answer| answer.is_ok()).count();
    let found = size(store, &index).await?;
    ensure(admitted == 5 && found == BELOW, || format!("{admitted} commits and {found} members below 5"))?;
    // A commit that was applied is answered as before, however full the index is now.
    let first = commits.iter().zip(&answers).find(|(_, answer)| answer.is_ok());
    let (applied, _) = first.ok_or("no commit was applied")?;
    store.commit(applied).await.map_err(unexpected)
}
