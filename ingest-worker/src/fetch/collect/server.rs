//! One pass over a server: pages flow through a short channel to the disk, with checkpoints.

use std::{sync::Arc, time::Duration};

use clara_runtime::config::HumanDuration;
use serde_json::Value;
use tokio::{
    sync::mpsc::{Receiver, Sender, channel},
    time::{Instant, sleep, timeout_at},
};

use super::{
    super::{
        FetchError, Fetched, Page, Remote, SavedSource,
        spool::Spool,
        waiting::{self, WAITING_EVERY},
    },
    FetchProgress, Pass,
    pace::{Due, Silence},
};
use crate::error::IngestError;

/// So many pages may wait for the disk; then the server waits.
const PAGES_AHEAD: usize = 2;
/// A server watches its patience itself and says best what went wrong; after this part more it is given up.
const GRACE: u32 = 10;
/// So many answers that are the same end a pass.
const MOST_SAME: u32 = 5;
/// Pause after a page that held nothing new.
const PAUSE: Duration = Duration::from_millis(100);

/// One pass over a server.
pub(super) struct ServerPass<'p, 'a, 'b> {
    pass: &'p mut Pass<'a, 'b>,
    spool: Spool,
    silence: Arc<Silence>,
    due: Due,
    total: Option<u64>,
}

impl<'p, 'a, 'b> ServerPass<'p, 'a, 'b> {
    pub(super) fn new(
        pass: &'p mut Pass<'a, 'b>,
        saved: SavedSource,
        patience: Duration,
    ) -> Result<Self, IngestError> {
        let due = Due::new(pass.request.checkpoint_every, saved.fetched);
        let spool = Spool::open(pass.request.folder, saved)?;
        Ok(Self { pass, spool, silence: Arc::new(Silence::new(patience)), due, total: None })
    }

    /// Reads the server to its end.
    pub(super) async fn run(mut self, mut remote: Box<dyn Remote>) -> Result<SavedSource, IngestError> {
        let source = self.spool.saved().source.clone();
        let mut stop = self.pass.stop.clone();
        let ended = tokio::select! {
            biased;
            reason = stop.stopped() => Err(IngestError::Stopped(reason)),
            ended = waiting::heard(self.copy(&source, remote.as_mut())) => ended,
        };
        match ended {
            Ok(()) => {
                self.spool.end(remote.state());
                self.save().await?;
                Ok(self.spool.saved().clone())
            }
            // What could not be written cannot be saved either.
            Err(error @ IngestError::Write { .. }) => Err(error),
            Err(error) => {
                let is_new = self.due.at(self.spool.saved().fetched).is_some();
                if is_new && self.pass.may_save() {
                    self.save().await?;
                }
                Err(error)
            }
        }
    }

    async fn copy(&mut self, source: &str, remote: &mut dyn Remote) -> Result<(), IngestError> {
        let (sender, receiver) = channel(PAGES_AHEAD);
        let silence = Arc::clone(&self.silence);
        tokio::try_join!(read(source, remote, sender, &silence), self.write(source, receiver))?;
        Ok(())
    }

    /// The writing end.
    async fn write(&mut self, source: &str, mut pages: Receiver<Page>) -> Result<(), IngestError> {
        loop {
            let due = self.due.at(self.spool.saved().fetched);
            let look_again = Instant::now() + WAITING_EVERY;
            match timeout_at(due.unwrap_or(look_again).min(look_again), pages.recv()).await {
                Ok(Some(page)) => {
                    waiting::answered();
                    self.take(page)?;
                }
                Ok(None) => return Ok(()),
                // A checkpoint is due, which nobody waits for.
                Err(_) if Instant::now() < look_again => {}
                Err(_) => self.pass.observer.waiting(&waiting::now(source, waiting::NO_ANSWER)),
            }
            if self.due.is_now(self.spool.saved().fetched) {
                self.save().await?;
            }
        }
    }

    fn take(&mut self, page: Page) -> Result<(), IngestError> {
        self.total = page.total.or(self.total);
        let new = self.spool.append(page)?;
        let saved = self.spool.saved();
        if new > 0 {
            self.silence.restart();
        } else if self.silence.is_too_long() {
            let problem = format!(
                "it answers, but has given nothing new for {}, only documents that came before ({} of them); \
                 let it order by something that never repeats, or read it by another route",
                HumanDuration(self.silence.most()),
                saved.repeated
            );
            return Err(FetchError::Refused { source_name: saved.source.clone(), problem }.into());
        }
        self.pass.observer.fetched(&FetchProgress {
            source: &saved.source,
            fetched: saved.fetched,
            unit: "documents",
            total: self.total,
            bytes: self.spool.bytes(),
        });
        Ok(())
    }

    async fn save(&mut self) -> Result<(), IngestError> {
        let began = Instant::now();
        let saved = self.spool.sync()?;
        self.pass.save(saved).await?;
        self.silence.leave_out(began);
        self.due.done(self.spool.saved().fetched);
        Ok(())
    }
}

/// The reading end.
async fn read(
    source: &str,
    remote: &mut dyn Remote,
    pages: Sender<Page>,
    silence: &Silence,
) -> Result<(), IngestError> {
    let (mut newest, mut same) = (None, 0);
    while let Some(page) = next_page(source, remote, silence).await? {
        let answer = Answer::of(&page);
        same = if newest.as_ref() == Some(&answer) { same + 1 } else { 0 };
        newest = Some(answer);
        if same >= MOST_SAME {
            let problem = format!(
                "it gave the same answer {same} times in a row and would do so for ever; let it order by something that \
                 never repeats, or read it by another route"
            );
            return Err(FetchError::Refused { source_name: source.to_owned(), problem }.into());
        }
        if same > 0 {
            sleep(PAUSE).await;
        }
        let began = Instant::now();
        if pages.send(page).await.is_err() {
            // The writing end has failed and says why.
            return Ok(());
        }
        silence.leave_out(began);
    }
    Ok(())
}

async fn next_page(
    source: &str,
    remote: &mut dyn Remote,
    silence: &Silence,
) -> Result<Option<Page>, IngestError> {
    let mut page = remote.next_page();
    loop {
        // Pages on their way to the disk may restart the silence meanwhile.
        let grace = silence.most() / GRACE;
        let end = silence.too_long_at() + grace;
        match timeout_at(end, page.as_mut()).await {
            Ok(page) => return Ok(page?),
            Err(_) if silence.too_long_at() + grace > end => {}
            Err(_) => {
                let problem = format!(
                    "it was waited for longer than its patience of {}; look whether it works, or raise the patience in \
                     its settings",
                    HumanDuration(silence.most())
                );
                return Err(FetchError::Unavailable { source_name: source.to_owned(), problem }.into());
            }
        }
    }
}

/// What makes two answers the same.
#[derive(Debug, PartialEq)]
struct Answer {
    cursor: Value,
    documents: usize,
    first: Option<Fetched>,
}

impl Answer {
    fn of(page: &Page) -> Self {
        Self {
            cursor: page.cursor.clone(),
            documents: page.documents.len(),
            first: page.documents.first().cloned(),
        }
    }
}
