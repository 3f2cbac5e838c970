//! The loop against a scripted coordinator.
