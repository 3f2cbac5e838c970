//! The thread that owns the decoder: takes requests, continues them together, sends what happens.

use std::collections::BTreeMap;

use tokio::sync::{mpsc, oneshot};

use super::{Batch, TextError, TextEvent, TextRequest, Ticket};
use crate::engine::AdapterWeights;

/// What the thread is asked to do.
#[derive(Debug)]
pub(super) enum Command {
    Generate { request: TextRequest, events: mpsc::Sender<TextEvent> },
    AddAdapter { name: String, weights: Box<AdapterWeights>, reply: oneshot::Sender<Result<(), TextError>> },
    RemoveAdapter { name: String, reply: oneshot::Sender<Result<(), TextError>> },
}

/// Works until all handles are gone and nothing is left to do.
pub(super) fn run(mut batch: Batch, mut commands: mpsc::Receiver<Command>) {
    let mut listeners = BTreeMap::new();
    loop {
        if batch.is_idle() {
            let Some(command) = commands.blocking_recv() else { return };
            execute(command, &mut batch, &mut listeners);
        }
        while !batch.is_full() {
            let Ok(command) = commands.try_recv() else { break };
            execute(command, &mut batch, &mut listeners);
        }
        cancel_abandoned(&mut batch, &mut listeners);
        for (ticket, event) in batch.step() {
            deliver(ticket, event, &mut batch, &mut listeners);
        }
    }
}

type Listeners = BTreeMap<Ticket, mpsc::Sender<TextEvent>>;

fn execute(command: Command, batch: &mut Batch, listeners: &mut Listeners) {
    match command {
        Command::Generate { request, events } => {
            listeners.insert(batch.submit(request), events);
        }
        Command::AddAdapter { name, weights, reply } => {
            let outcome = batch.decoder().add_adapter(&name, &weights);
            answer(reply, outcome.map_err(TextError::from));
        }
        Command::RemoveAdapter { name, reply } => {
            answer(reply, batch.decoder().remove_adapter(&name).map_err(TextError::from));
        }
    }
}

fn answer(reply: oneshot::Sender<Result<(), TextError>>, outcome: Result<(), TextError>) {
    if reply.send(outcome).is_err() {
        tracing::debug!("nobody waits for the answer about an adapter any more");
    }
}

fn deliver(ticket: Ticket, event: TextEvent, batch: &mut Batch, listeners: &mut Listeners) {
    let is_last = matches!(event, TextEvent::Finished(_) | TextEvent::Failed(_));
    let Some(listener) = listeners.get(&ticket) else { return };
    // The channel has room for all events, so sending fails only when nobody listens.
    if listener.try_send(event).is_err() {
        drop_text(ticket, batch);
    }
    if is_last {
        listeners.remove(&ticket);
    }
}

fn cancel_abandoned(batch: &mut Batch, listeners: &mut Listeners) {
    listeners.retain(|ticket, listener| {
        if listener.is_closed() {
            drop_text(*ticket, batch);
        }
        !listener.is_closed()
    });
}

fn drop_text(ticket: Ticket, batch: &mut Batch) {
    if let Err(error) = batch.cancel(ticket) {
        tracing::error!(%error, "cannot close an abandoned text");
    }
}
