//! A disk that is full half way through a fetch.

use std::fs;

use anyhow::{Result, ensure};
use clara_tests::{Sandbox, SmallDisk};

use crate::{
    served::{Themis, ingest, random_documents, records},
    themis::{
        documents::lines,
        double::{Faults, Generation, Quirks, Store},
    },
};

/// About 900 KB when they are fetched.
const DOCUMENTS: usize = 3_000;
/// Documents between two checkpoints of the ingest-worker.
const CHECKPOINT_EVERY: usize = 1_000;

#[test]
#[ignore = "needs root for a tmpfs: make full-disk"]
fn full_disk_half_way_publishes_nothing_and_the_same_command_goes_on_when_there_is_room() -> Result<()> {
    let sandbox = Sandbox::new(1)?;
    let documents = random_documents(DOCUMENTS);
    let themis = Themis::start(Quirks::of(Generation::T25), Faults::default(), Store::of(&documents))?;
    let settings = themis.settings("table = \"documents\"\npage = 50");
    let disk = SmallDisk::new(&sandbox.path("small"), "600k")?;
    let into = ["--out", "small/dataset"];
    ingest(&sandbox, &settings, None, &into)?.expect(1)?.says(&[
        "cannot write",
        "No space left",
        "check permissions and free space there",
        "nothing was published",
    ])?;
    ensure!(!sandbox.path("small/dataset").exists(), "something was published");
    let reads = themis.reads();
    ensure!(
        (CHECKPOINT_EVERY..DOCUMENTS).contains(&reads),
        "{reads} of {DOCUMENTS} documents fit on the disk"
    );
    disk.resize("64m")?;
    ingest(&sandbox, &settings, None, &into)?.expect(0)?;
    let again = themis.reads() - reads;
    ensure!(again <= DOCUMENTS - CHECKPOINT_EVERY, "{again} of {DOCUMENTS} documents were read again");
    fs::write(sandbox.path("laws.jsonl"), lines(&documents))?;
    let args = ["ingest", "--domain", "verwaltungsrecht", "--source", "laws.jsonl", "--out", "of-file"];
    sandbox.clara(&args)?.expect(0)?;
    ensure!(
        records(&sandbox.path("small/dataset"))? == records(&sandbox.path("of-file"))?,
        "the dataset of an interrupted fetch differs from that of a file"
    );
    Ok(())
}
