//! A decoder that says what a script tells it, whatever the model.

use std::{
    collections::BTreeMap,
    sync::{Arc, mpsc},
    time::Duration,
};

use parking_lot::Mutex;

use crate::{
    engine::{AdapterWeights, Decoder, EngineError, SequenceId},
    sampling::Sampling,
    text::{TextModel, TextRequest},
    token_texts::tests::{END, small},
};

/// Says a fixed text per adapter after the last `>` of the prompt.
#[derive(Debug)]
pub(crate) struct ScriptedDecoder {
    /// Gives logits that are not numbers.
    pub(crate) broken: bool,
    answers: BTreeMap<String, String>,
    open: BTreeMap<SequenceId, (String, Vec<u32>)>,
    next: u64,
    log: Log,
    dropped: mpsc::Sender<()>,
}

/// What the decoder was asked to do.
#[derive(Debug, Clone)]
pub(crate) struct Log {
    counts: Arc<Mutex<Counts>>,
    dropped: Arc<Mutex<mpsc::Receiver<()>>>,
}

#[derive(Debug, Default)]
struct Counts {
    passes: usize,
    largest_batch: usize,
    largest_part: usize,
    open: usize,
}

impl Default for ScriptedDecoder {
    fn default() -> Self {
        let answers = [("", "Basis größer."), ("recht", "Nach § 35 BauGB."), ("kurz", "Ja")];
        let endless = "x".repeat(390);
        let answers = answers.into_iter().chain([("endlos", endless.as_str())]);
        let (dropped, receiver) = mpsc::channel();
        let log = Log { counts: Arc::default(), dropped: Arc::new(Mutex::new(receiver)) };
        let answers = answers.map(|(name, text)| (name.to_owned(), text.to_owned())).collect();
        Self { broken: false, answers, open: BTreeMap::new(), next: 0, log, dropped }
    }
}

/// The model that the script's tokens belong to.
pub(crate) fn model() -> TextModel {
    TextModel { vocabulary: Arc::new(small()), end_tokens: vec![END], context_length: 400 }
}

/// A greedy request whose prompt's tokens are its bytes.
pub(crate) fn request(prompt: &str, adapter: Option<&str>) -> TextRequest {
    TextRequest {
        prompt: prompt.bytes().map(u32::from).collect(),
        adapter: adapter.map(str::to_owned),
        max_tokens: 380,
        sampling: Sampling::GREEDY,
        stop: Vec::new(),
        guide: None,
        logprobs: None,
    }
}

impl Log {
    pub(crate) fn passes(&self) -> usize {
        self.counts.lock().passes
    }

    pub(crate) fn largest_batch(&self) -> usize {
        self.counts.lock().largest_batch
    }

    pub(crate) fn largest_part(&self) -> usize {
        self.counts.lock().largest_part
    }

    pub(crate) fn open_sequences(&self) -> usize {
        self.counts.lock().open
    }

    /// Waits until the decoder is dropped; true when no sequence was left open.
    pub(crate) fn wait_until_idle(&self) -> bool {
        let waited = self.dropped.lock().recv_timeout(Duration::from_secs(10));
        waited.is_ok() && self.open_sequences() == 0
    }
}

impl ScriptedDecoder {
    pub(crate) fn log(&self) -> Log {
        self.log.clone()
    }

    fn logits(&self, adapter: &str, tokens: &[u32]) -> Vec<f32> {
        if self.broken {
            return vec![f32::NAN; 270];
        }
        let said = tokens.iter().rev().take_while(|token| **token != u32::from(b'>')).count();
        let next = self.answers[adapter].as_bytes().get(said).map_or(END, |byte| u32::from(*byte));
        (0..270).map(|token| if token == next { 10.0 } else { 0.0 }).collect()
    }
}

impl Drop for ScriptedDecoder {
    fn drop(&mut self) {
        // Nobody may be waiting for it.
        let _ = self.dropped.send(());
    }
}

impl Decoder for ScriptedDecoder {
    fn add_adapter(&mut self, name: &str, _adapter: &AdapterWeights) -> Result<(), EngineError> {
        self.answers.insert(name.to_owned(), format!("Hier spricht {name}."));
        Ok(())
    }

    fn remove_adapter(&mut self, name: &str) -> Result<(), EngineError> {
        let removed = self.answers.remove(name);
        removed.map(|_| ()).ok_or_else(|| EngineError::UnknownAdapter { name: name.to_owned() })
    }

    fn open(&mut self, adapter: Option<&str>) -> Result<SequenceId, EngineError> {
        let name = adapter.unwrap_or_default();
        if !self.answers.contains_key(name) {
            return Err(EngineError::UnknownAdapter { name: name.to_owned() });
        }
        self.next += 1;
        self.open.insert(SequenceId(self.next), (name.to_owned(), Vec::new()));
        self.log.counts.lock().open = self.open.len();
        Ok(SequenceId(self.next))
    }

    fn extend(&mut self, inputs: &[(SequenceId, &[u32])]) -> Result<Vec<Vec<f32>>, EngineError> {
        let mut counts = self.log.counts.lock();
        counts.passes += 1;
        counts.largest_batch = counts.largest_batch.max(inputs.len());
        drop(counts);
        let mut logits = Vec::new();
        for (id, tokens) in inputs {
            assert!(!tokens.is_empty(), "sequence {} is extended by nothing", id.0);
            let mut counts = self.log.counts.lock();
            counts.largest_part = counts.largest_part.max(tokens.len());
            drop(counts);
            let (_, said) = self.open.get_mut(id).ok_or(EngineError::UnknownSequence { id: id.0 })?;
            said.extend_from_slice(tokens);
            let (adapter, said) = &self.open[id];
            logits.push(self.logits(adapter, said));
        }
        Ok(logits)
    }

    fn score(
        &mut self,
        _adapter: Option<&str>,
        tokens: &[u32],
        from: usize,
    ) -> Result<Vec<f32>, EngineError> {
        Ok(vec![-1.5; tokens.len() - from])
    }

    fn length(&self, id: SequenceId) -> Result<usize, EngineError> {
        self.open.get(&id).map(|(_, tokens)| tokens.len()).ok_or(EngineError::UnknownSequence { id: id.0 })
    }

    fn close(&mut self, id: SequenceId) -> Result<(), EngineError> {
        self.open.remove(&id).ok_or(EngineError::UnknownSequence { id: id.0 })?;
        self.log.counts.lock().open = self.open.len();
        Ok(())
    }
}
