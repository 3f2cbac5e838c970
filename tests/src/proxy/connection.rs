//! One connection through the proxy: two pipes, each with its own fault.

use std::{
    io,
    sync::{Arc, atomic::Ordering},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::mpsc,
    time::{Instant, sleep_until},
};

use super::{Path, Shared, Way};

/// Most bytes read at once.
const CHUNK_BYTES: usize = 16 * 1024;
/// Most chunks under way in one direction; then the sender has to wait, as it would for a full window.
const CHUNKS: usize = 64;

/// What came from the sender, and when; no bytes are the end of its stream.
struct Chunk {
    bytes: Vec<u8>,
    arrived_at: Instant,
}

/// Carries a connection until both sides ended it or one of them broke.
pub(super) async fn carry(client: TcpStream, shared: Arc<Shared>) {
    until_due(&shared.to_target, Instant::now()).await;
    // A target that is not there ends the connection; the client learns it from the closed socket.
    let Ok(target) = TcpStream::connect(shared.target).await else { return };
    let no_delay = client.set_nodelay(true).and_then(|()| target.set_nodelay(true));
    let (from_client, to_client) = client.into_split();
    let (from_target, to_target) = target.into_split();
    let carried = async {
        no_delay?;
        tokio::try_join!(
            pipe(from_client, to_target, &shared.to_target),
            pipe(from_target, to_client, &shared.to_client)
        )
    };
    // A broken side closes the other one: both halves of both sockets end here.
    if let Err(error) = carried.await
        && !is_ordinary_end(&error)
    {
        eprintln!("a connection through the proxy broke: {error}");
    }
}

/// Reading goes on while earlier bytes are delayed or kept.
async fn pipe(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, way: &Way) -> io::Result<()> {
    let (sender, mut receiver) = mpsc::channel::<Chunk>(CHUNKS);
    let reading = async move {
        loop {
            let mut bytes = vec![0; CHUNK_BYTES];
            let count = from.read(&mut bytes).await?;
            bytes.truncate(count);
            let chunk = Chunk { bytes, arrived_at: Instant::now() };
            if sender.send(chunk).await.is_err() || count == 0 {
                return Ok(());
            }
        }
    };
    let writing = async move {
        while let Some(chunk) = receiver.recv().await {
            until_due(way, chunk.arrived_at).await;
            if chunk.bytes.is_empty() {
                return to.shutdown().await;
            }
            // Counted first: whoever hears the bytes finds them counted.
            way.forwarded.fetch_add(chunk.bytes.len() as u64, Ordering::Relaxed);
            to.write_all(&chunk.bytes).await?;
        }
        Ok(())
    };
    tokio::try_join!(reading, writing).map(|((), ())| ())
}

/// Waits until bytes that arrived at that moment may go on; follows changes of the fault meanwhile.
async fn until_due(way: &Way, arrived_at: Instant) {
    let mut path = way.path.subscribe();
    loop {
        let now = *path.borrow_and_update();
        match now {
            Path::Open => return,
            Path::Delayed(by) => {
                tokio::select! {
                    () = sleep_until(arrived_at + by) => return,
                    changed = path.changed() => if changed.is_err() { return },
                }
            }
            Path::Silent => {
                if path.changed().await.is_err() {
                    return;
                }
            }
        }
    }
}

fn is_ordinary_end(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, NotConnected};
    matches!(error.kind(), BrokenPipe | ConnectionReset | NotConnected)
}
