//! Drawings of a training's curve for a terminal; `clara_coordinator::chart` draws them as SVG.

pub(crate) mod terminal;
