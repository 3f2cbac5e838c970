//! Which versions agree, and what is said when none does.

use super::*;

fn range(oldest: u32, newest: u32) -> ProtocolRange {
    ProtocolRange { oldest, newest }
}

fn hello(protocol: ProtocolRange) -> Hello {
    Hello {
        worker: "gpu-worker-1".parse().unwrap(),
        stage: Stage::Train,
        protocol,
        build: "0.2.0".to_owned(),
        slots: 1,
        resources: Resources::default(),
        classes: Vec::new(),
    }
}

fn welcome(protocol: ProtocolRange) -> Welcome {
    Welcome { build: "0.5.0".to_owned(), protocol, classes: Vec::new() }
}

#[test]
fn the_newest_version_that_both_speak_is_agreed_on() {
    for (ours, theirs, agreed) in [((1, 2), (1, 2), 2), ((1, 2), (2, 4), 2), ((3, 5), (1, 4), 4)] {
        let (ours, theirs) = (range(ours.0, ours.1), range(theirs.0, theirs.1));
        assert_eq!(hello(ours).agreed(&welcome(theirs)), Ok(agreed), "{ours} and {theirs}");
    }
    assert_eq!(hello(ProtocolRange::OURS).agreed(&Welcome::before_hello()), Ok(1));
}

#[test]
fn an_older_worker_is_told_to_be_upgraded() {
    let refused = hello(range(1, 2)).agreed(&welcome(range(3, 4))).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "worker gpu-worker-1 is Clara 0.2.0 and speaks protocols 1 to 2, the coordinator is Clara 0.5.0 and speaks \
         protocols 3 to 4: they share none; upgrade the worker"
    );
}

#[test]
fn a_newer_worker_asks_for_a_newer_coordinator() {
    let refused = hello(range(5, 5)).agreed(&welcome(range(3, 4))).unwrap_err();
    assert!(refused.to_string().ends_with("share none; upgrade the coordinator"), "{refused}");
}
