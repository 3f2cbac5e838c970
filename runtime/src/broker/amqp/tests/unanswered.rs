//! A broker that answers everything but the end of a channel.

use std::{net::SocketAddr, sync::Arc};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::Semaphore,
};

use super::*;

/// Frames of AMQP begin with type, channel and length of what follows; `channel.close` is method 40 of class 20.
const METHOD: u8 = 1;
const CHANNEL_CLOSE: [u8; 4] = [0, 20, 0, 40];

pub(super) async fn the_end_of_a_channel_holds_nobody_up(server: &Server) {
    let authority = server.url.rsplit('@').next().unwrap();
    let address: SocketAddr = authority.split('/').next().unwrap().parse().unwrap();
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = server.url.replace(&address.to_string(), &listener.local_addr().unwrap().to_string());
    let swallowed = Arc::new(Semaphore::new(0));
    let owner = tasks();
    owner.spawn_until_shutdown("test.proxy", pass_on(listener, address, Arc::clone(&swallowed)));
    let timeout = Duration::from_millis(500);
    let options = AmqpOptions { url: Secret::new(url), timeout, ..server.options() };
    let broker = AmqpBroker::connect(&options, &owner).await.unwrap();
    // The first task declares its queue over a channel that never ends well.
    let published = tokio::time::timeout(timeout * 20, broker.publish(&task(5))).await;
    let published = published.expect("a publication waits for the end of a channel");
    assert!(swallowed.available_permits() > 0, "no channel was closed");
    // The connection was given up; whether the task got through before does not matter.
    drop(published);
    let depth = tokio::time::timeout(timeout * 20, broker.depth(&QueueName::of(&task(5)))).await;
    depth.expect("a look at a queue waits for the end of a channel").unwrap();
    assert!(owner.finish(Duration::from_secs(5)).await);
}

/// Passes everything on but the ends of channels, which it counts.
async fn pass_on(listener: TcpListener, broker: SocketAddr, swallowed: Arc<Semaphore>) {
    let mut ways = futures::stream::FuturesUnordered::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let (client, _) = accepted.unwrap();
                let (broker, swallowed) = (TcpStream::connect(broker).await.unwrap(), Arc::clone(&swallowed));
                ways.push(async move {
                    let (from_client, mut to_client) = client.into_split();
                    let (mut from_broker, to_broker) = broker.into_split();
                    let back = tokio::io::copy(&mut from_broker, &mut to_client);
                    drop(futures::join!(without_ends(from_client, to_broker, &swallowed), back));
                });
            }
            Some(()) = futures::StreamExt::next(&mut ways), if !ways.is_empty() => {}
        }
    }
}

async fn without_ends(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    swallowed: &Semaphore,
) -> std::io::Result<()> {
    let mut greeting = [0; 8];
    from.read_exact(&mut greeting).await?;
    to.write_all(&greeting).await?;
    loop {
        let mut head = [0; 7];
        from.read_exact(&mut head).await?;
        let length = u32::from_be_bytes([head[3], head[4], head[5], head[6]]) as usize;
        // And the byte that ends a frame.
        let mut payload = vec![0; length + 1];
        from.read_exact(&mut payload).await?;
        if head[0] == METHOD && payload.starts_with(&CHANNEL_CLOSE) {
            swallowed.add_permits(1);
            continue;
        }
        to.write_all(&head).await?;
        to.write_all(&payload).await?;
    }
}
