//! Which copies are kept, and which are dropped for others.

use super::*;

fn stored(version: u64, value: &str) -> Stored<Arc<String>> {
    Stored { version: Some(version), value: Arc::new(value.to_owned()) }
}

fn kept(recent: &Recent<String>, id: &str) -> Option<String> {
    recent.get(id).map(|copy| String::clone(&copy.value))
}

#[test]
fn an_older_copy_never_replaces_a_newer_one() {
    let recent = Recent::keeping(1);
    recent.put("a", stored(2, "new"), 1);
    recent.put("a", stored(1, "old"), 1);
    assert_eq!(kept(&recent, "a").as_deref(), Some("new"));
    // On the shelf of what was put before, too.
    recent.put("b", stored(1, "other"), 1);
    recent.put("a", stored(1, "old"), 1);
    assert_eq!(kept(&recent, "a").as_deref(), Some("new"));
    recent.put("a", stored(3, "newest"), 1);
    assert_eq!(kept(&recent, "a").as_deref(), Some("newest"));
    recent.forget("a");
    assert_eq!(kept(&recent, "a"), None);
}

#[test]
fn what_was_put_last_is_kept_and_the_rest_is_bounded_by_weight() {
    let recent = Recent::keeping(4);
    for id in ["a", "b", "c", "d"] {
        recent.put(id, stored(1, "value"), 1);
    }
    // Written again, a copy takes no room of others.
    for version in 2..20 {
        recent.put("d", stored(version, "value"), 1);
    }
    assert_eq!(kept(&recent, "a").as_deref(), Some("value"));
    recent.put("heavy", stored(1, "value"), 100);
    recent.put("light", stored(1, "value"), 1);
    assert_eq!(kept(&recent, "a"), None);
    assert!(kept(&recent, "heavy").is_some() && kept(&recent, "light").is_some());
    // Forgotten weight is free again.
    recent.forget("light");
    for id in ["e", "f", "g", "h"] {
        recent.put(id, stored(1, "value"), 1);
    }
    assert!(kept(&recent, "heavy").is_some() && kept(&recent, "e").is_some());
    recent.clear();
    assert_eq!((kept(&recent, "heavy"), kept(&recent, "h")), (None, None));
}
