//! Work that comes again and again, recorded: a launch costs the host more than many a kernel takes.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    cuda::{Device, DeviceError, GraphId},
    engine::EngineError,
};

#[derive(Debug, Clone, Copy)]
enum Recorded {
    /// Was started once, so that every product has found its algorithm.
    Seen,
    Graph(GraphId),
    /// The device does not record.
    Never,
}

/// All recordings; they hold addresses of the memory that they are kept beside.
#[derive(Debug)]
pub(super) struct Graphs<K> {
    device: Arc<dyn Device>,
    recorded: BTreeMap<K, Recorded>,
    most: usize,
}

impl<K: Ord> Graphs<K> {
    /// Keeps up to `most` recordings, then begins anew. Equal keys must start equal work.
    pub(super) fn new(device: &Arc<dyn Device>, most: usize) -> Self {
        Self { device: Arc::clone(device), recorded: BTreeMap::new(), most }
    }

    /// Starts the work of a key, from its second time on by its recording.
    pub(super) fn run(
        &mut self,
        key: K,
        start: &mut dyn FnMut() -> Result<(), EngineError>,
    ) -> Result<(), EngineError> {
        let recorded = match self.recorded.get(&key) {
            None => {
                start()?;
                if self.recorded.len() >= self.most {
                    self.clear();
                }
                self.recorded.insert(key, Recorded::Seen);
                return Ok(());
            }
            Some(Recorded::Seen) => {
                let graph = recording(self.device.as_ref(), start)?;
                let recorded = graph.map_or(Recorded::Never, Recorded::Graph);
                self.recorded.insert(key, recorded);
                recorded
            }
            Some(recorded) => *recorded,
        };
        match recorded {
            Recorded::Graph(graph) => Ok(self.device.replay(graph)?),
            Recorded::Seen | Recorded::Never => start(),
        }
    }

    /// How much work has been recorded.
    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.recorded.values().filter(|recorded| matches!(recorded, Recorded::Graph(_))).count()
    }
}

impl<K> Graphs<K> {
    /// Forgets all recordings, for example because addresses in them are no longer right.
    pub(super) fn clear(&mut self) {
        for recorded in std::mem::take(&mut self.recorded).into_values() {
            if let Recorded::Graph(graph) = recorded {
                self.device.discard(graph);
            }
        }
    }
}

impl<K> Drop for Graphs<K> {
    fn drop(&mut self) {
        self.clear();
    }
}

/// Records what `work` starts; `None` where the device cannot.
fn recording(
    device: &dyn Device,
    work: &mut dyn FnMut() -> Result<(), EngineError>,
) -> Result<Option<GraphId>, EngineError> {
    let mut refused = None;
    let graph = device.record(&mut || match work() {
        Ok(()) => Ok(()),
        Err(EngineError::Device(error)) => Err(error),
        Err(error) => {
            let call = error.to_string();
            refused = Some(error);
            Err(DeviceError::Failed { call, reason: "the pass was refused".to_owned() })
        }
    });
    refused.map_or_else(|| Ok(graph?), Err)
}
