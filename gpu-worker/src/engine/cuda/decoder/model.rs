//! The model on a device, with the adapters that sequences can use.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{
    super::{
        bytes::float_bytes,
        layout::Layout,
        magnitudes::Magnitudes,
        weights::{DeviceWeights, Source},
    },
    memory::Memory,
    pass::Running,
};
use crate::{
    cuda::{Buffer, Device},
    engine::{AdapterWeights, EngineError, LoraConfig},
    model::ModelConfig,
    ops::rope::Ropes,
};

/// The model, its adapters and the memory of its passes.
#[derive(Debug)]
pub(super) struct Model {
    pub(super) device: Arc<dyn Device>,
    source: Source,
    ropes: Ropes,
    pub(super) adapters: BTreeMap<String, LoadedAdapter>,
    held: Option<Held>,
    pub(super) memory: Option<Memory>,
}

/// An adapter that sequences can use.
#[derive(Debug)]
pub(super) struct LoadedAdapter {
    weights: AdapterWeights,
    /// From the first use on.
    placed: Option<PlacedAdapter>,
}

/// What the device holds of an adapter, in the present layout.
#[derive(Debug)]
struct PlacedAdapter {
    /// `B` is scaled.
    values: Buffer,
    magnitudes: Option<Magnitudes>,
}

/// The model on the device.
#[derive(Debug)]
struct Held {
    layout: Layout,
    weights: DeviceWeights,
    /// The adapter in the margins.
    active: Option<String>,
}

impl Model {
    /// Nothing is on the device yet.
    pub(super) fn new(device: Arc<dyn Device>, source: Source) -> Self {
        let ropes = Ropes::new(source.config());
        Self { device, source, ropes, adapters: BTreeMap::new(), held: None, memory: None }
    }

    pub(super) fn config(&self) -> &ModelConfig {
        self.source.config()
    }

    /// Makes an adapter available, in place of one of that name.
    pub(super) fn insert(&mut self, name: &str, weights: AdapterWeights) {
        self.forget(name);
        self.adapters.insert(name.to_owned(), LoadedAdapter { weights, placed: None });
    }

    /// Removes an adapter.
    pub(super) fn remove(&mut self, name: &str) -> Result<(), EngineError> {
        self.forget(name);
        let removed = self.adapters.remove(name);
        removed.map(drop).ok_or_else(|| EngineError::UnknownAdapter { name: name.to_owned() })
    }

    /// The adapter whose values are in the margins.
    pub(super) fn active(&self) -> Option<&str> {
        self.held.as_ref().and_then(|held| held.active.as_deref())
    }

    /// Puts the weights on the device, if they are not there yet with room for every adapter.
    pub(super) fn prepare(&mut self) -> Result<(), EngineError> {
        let widest = self.widest();
        if self.held.as_ref().is_some_and(|held| held.layout.config == widest) {
            return Ok(());
        }
        (self.held, self.memory) = (None, None);
        for adapter in self.adapters.values_mut() {
            adapter.placed = None;
        }
        let layout = Layout::new(widest.as_ref(), self.source.config());
        let weights = DeviceWeights::load(&self.device, &self.source, &layout)?;
        self.held = Some(Held { layout, weights, active: None });
        Ok(())
    }

    /// What has room for every adapter, and for those that there was room for.
    #[expect(clippy::cast_precision_loss, reason = "a rank is far below 2²⁴")]
    fn widest(&self) -> Option<LoraConfig> {
        let held = self.held.as_ref().and_then(|held| held.layout.config.as_ref());
        let configs = || self.adapters.values().map(|adapter| &adapter.weights.config).chain(held);
        let rank = configs().map(|config| config.rank).max()?;
        let targets: BTreeSet<_> = configs().flat_map(|config| config.targets.iter().copied()).collect();
        Some(LoraConfig {
            rank,
            frozen_rank: 0,
            // The scale is 1: each adapter's own is in its values.
            alpha: rank as f32,
            targets: targets.into_iter().collect(),
            dora: configs().any(|config| config.dora),
            dropout: 0.0,
        })
    }

    /// Forgets what the device holds of an adapter.
    fn forget(&mut self, name: &str) {
        if let Some(held) = self.held.as_mut().filter(|held| held.active.as_deref() == Some(name)) {
            held.active = None;
        }
    }

    /// Refuses an adapter whose magnitudes cannot be computed, before its tokens share a call with those of others.
    pub(super) fn check_magnitudes(&mut self, name: &str) -> Result<(), EngineError> {
        let is_unknown = |adapter: &LoadedAdapter| adapter.weights.config.dora && adapter.placed.is_none();
        if self.adapters.get(name).is_some_and(is_unknown) {
            self.under(Some(name))?;
        }
        Ok(())
    }

    /// Gets everything ready for passes under an adapter.
    pub(super) fn under(&mut self, adapter: Option<&str>) -> Result<Running<'_>, EngineError> {
        self.prepare()?;
        let Self { device, source, ropes, adapters, held, memory, .. } = self;
        let held = held.as_mut().ok_or(EngineError::Defect { missing: "the model on the device" })?;
        let placed = match adapter {
            Some(name) => Some(held.activate(device, name, adapters)?),
            None => None,
        };
        let values = placed.map(|placed| placed.values.address());
        let magnitudes = placed.and_then(|placed| placed.magnitudes.as_ref());
        let Held { layout, weights, .. } = held;
        Ok(Running { device, config: source.config(), weights, layout, values, magnitudes, ropes, memory })
    }
}

impl Held {
    /// Puts an adapter into the margins, if it is not there; returns what the device holds of it.
    fn activate<'a>(
        &mut self,
        device: &Arc<dyn Device>,
        name: &str,
        adapters: &'a mut BTreeMap<String, LoadedAdapter>,
    ) -> Result<&'a PlacedAdapter, EngineError> {
        let unknown = || EngineError::UnknownAdapter { name: name.to_owned() };
        let LoadedAdapter { weights, placed } = adapters.get_mut(name).ok_or_else(unknown)?;
        let placed = if let Some(placed) = placed {
            placed
        } else {
            let found = self.place(device, weights)?;
            self.active = Some(name.to_owned());
            placed.insert(found)
        };
        if self.active.as_deref() != Some(name) {
            self.active = None;
            self.weights.adapt(device.as_ref(), placed.values.address())?;
            self.active = Some(name.to_owned());
        }
        Ok(placed)
    }

    /// Puts an adapter on the device and into the margins: its magnitudes are computed from there.
    fn place(
        &mut self,
        device: &Arc<dyn Device>,
        AdapterWeights { config, tensors }: &AdapterWeights,
    ) -> Result<PlacedAdapter, EngineError> {
        let mut values = self.layout.import(tensors);
        self.layout.scale(&mut values, config.scale());
        let bytes = float_bytes(&values);
        let buffer = Buffer::new(device, bytes.len())?;
        let values = buffer.address();
        device.write(values, &bytes)?;
        self.active = None;
        self.weights.adapt(device.as_ref(), values)?;
        let magnitudes = if config.dora {
            Magnitudes::new(device, &self.weights, &self.layout, (values, &config.targets))?
        } else {
            None
        };
        Ok(PlacedAdapter { values: buffer, magnitudes })
    }
}
