//! Each fault does what it says, and healing ends it.

use std::net::Ipv4Addr;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, timeout},
};

use super::*;

/// Long enough to be sure that nothing comes.
const SILENCE: Duration = Duration::from_millis(150);
/// No answer within this time is a failure.
const DEADLINE: Duration = Duration::from_secs(10);

/// Answers every byte with itself, until it is dropped.
struct Echo {
    address: SocketAddr,
    _tasks: JoinSet<()>,
}

impl Echo {
    async fn start() -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                connections.spawn(async move {
                    let (mut from, mut to) = stream.split();
                    tokio::io::copy(&mut from, &mut to).await
                });
            }
        });
        Ok(Self { address, _tasks: tasks })
    }
}

async fn ask(stream: &mut TcpStream, question: &[u8]) -> Result<()> {
    stream.write_all(question).await?;
    hear(stream, question).await
}

async fn hear(stream: &mut TcpStream, wanted: &[u8]) -> Result<()> {
    let mut heard = vec![0; wanted.len()];
    timeout(DEADLINE, stream.read_exact(&mut heard)).await??;
    anyhow::ensure!(heard == wanted, "heard {heard:?}, expected {wanted:?}");
    Ok(())
}

/// Whether nothing at all comes, not even the end of the stream.
async fn is_silent(stream: &mut TcpStream) -> bool {
    timeout(SILENCE, stream.read_u8()).await.is_err()
}

async fn connected() -> Result<(Echo, Proxy, TcpStream)> {
    let echo = Echo::start().await?;
    let proxy = Proxy::start(echo.address).await?;
    let stream = TcpStream::connect(proxy.address()).await?;
    Ok((echo, proxy, stream))
}

#[tokio::test]
async fn bytes_pass_both_ways_and_are_counted() -> Result<()> {
    let (_echo, proxy, mut stream) = connected().await?;
    let question = vec![7; 1000];
    ask(&mut stream, &question).await?;
    assert_eq!(proxy.forwarded(Direction::ToTarget), 1000);
    assert_eq!(proxy.forwarded(Direction::ToClient), 1000);
    assert_eq!(proxy.accepted(), 1);
    Ok(())
}

#[tokio::test]
async fn the_end_of_a_stream_passes_after_its_bytes() -> Result<()> {
    let (_echo, _proxy, mut stream) = connected().await?;
    stream.write_all(b"last words").await?;
    stream.shutdown().await?;
    let mut heard = Vec::new();
    timeout(DEADLINE, stream.read_to_end(&mut heard)).await??;
    assert_eq!(heard, b"last words");
    Ok(())
}

#[tokio::test]
async fn a_cut_closes_connections_and_refuses_new_ones_until_healed() -> Result<()> {
    let (_echo, proxy, mut stream) = connected().await?;
    ask(&mut stream, b"before").await?;
    for _ in 0..3 {
        proxy.cut().await;
        assert!(timeout(DEADLINE, stream.read_u8()).await?.is_err(), "the connection is still open");
        let refused = TcpStream::connect(proxy.address()).await.unwrap_err();
        assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
        proxy.heal()?;
        stream = TcpStream::connect(proxy.address()).await?;
        ask(&mut stream, b"after").await?;
    }
    Ok(())
}

#[tokio::test]
async fn hanging_up_closes_connections_and_accepts_new_ones() -> Result<()> {
    let (_echo, proxy, mut stream) = connected().await?;
    ask(&mut stream, b"before").await?;
    proxy.hang_up().await;
    assert!(timeout(DEADLINE, stream.read_u8()).await?.is_err(), "the connection is still open");
    let mut again = TcpStream::connect(proxy.address()).await?;
    ask(&mut again, b"after").await
}

#[tokio::test]
async fn a_silent_direction_keeps_bytes_until_healed_and_loses_none() -> Result<()> {
    for direction in [Direction::ToTarget, Direction::ToClient] {
        let (_echo, proxy, mut stream) = connected().await?;
        ask(&mut stream, b"before").await?;
        proxy.silence(direction);
        stream.write_all(b"during").await?;
        assert!(is_silent(&mut stream).await, "{direction:?}");
        let reached_target = if direction == Direction::ToTarget { 6 } else { 12 };
        assert_eq!(proxy.forwarded(Direction::ToTarget), reached_target, "{direction:?}");
        proxy.heal()?;
        hear(&mut stream, b"during").await?;
        ask(&mut stream, b"after").await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_partition_hides_even_the_end_of_a_connection() -> Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let proxy = Proxy::start(listener.local_addr()?).await?;
    let mut client = TcpStream::connect(proxy.address()).await?;
    let (mut target, _) = listener.accept().await?;
    proxy.partition();
    client.shutdown().await?;
    drop(client);
    assert!(is_silent(&mut target).await);
    proxy.heal()?;
    assert!(timeout(DEADLINE, target.read_u8()).await?.is_err(), "the end never came");
    Ok(())
}

#[tokio::test]
async fn a_connection_made_during_a_partition_reaches_the_target_after_it() -> Result<()> {
    let (_echo, proxy, _) = connected().await?;
    proxy.partition();
    let mut stream = TcpStream::connect(proxy.address()).await?;
    stream.write_all(b"hello").await?;
    assert!(is_silent(&mut stream).await);
    proxy.heal()?;
    hear(&mut stream, b"hello").await
}

#[tokio::test]
async fn a_delay_moves_every_byte_and_ends_with_healing() -> Result<()> {
    let (_echo, proxy, mut stream) = connected().await?;
    ask(&mut stream, b"before").await?;
    proxy.delay(Direction::ToTarget, Duration::from_millis(60));
    proxy.delay(Direction::ToClient, Duration::from_millis(40));
    let began_at = Instant::now();
    for _ in 0..20 {
        stream.write_all(b"slow").await?;
    }
    hear(&mut stream, &b"slow".repeat(20)).await?;
    let took = began_at.elapsed();
    assert!(took >= Duration::from_millis(100), "{took:?}");
    assert!(took < Duration::from_secs(1), "delays add up: {took:?}");
    proxy.delay(Direction::ToClient, Duration::from_hours(1));
    stream.write_all(b"late").await?;
    assert!(is_silent(&mut stream).await);
    proxy.heal()?;
    hear(&mut stream, b"late").await
}

#[tokio::test]
async fn a_target_that_is_not_there_closes_the_connection_and_may_come_later() -> Result<()> {
    let place = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = place.local_addr()?;
    drop(place);
    let proxy = Proxy::start(address).await?;
    let mut stream = TcpStream::connect(proxy.address()).await?;
    assert!(timeout(DEADLINE, stream.read_u8()).await?.is_err());
    let listener = TcpListener::bind(address).await?;
    let _stream = TcpStream::connect(proxy.address()).await?;
    timeout(DEADLINE, listener.accept()).await??;
    Ok(())
}

#[tokio::test]
async fn a_sender_waits_when_too_much_is_under_way() -> Result<()> {
    let (_echo, proxy, mut stream) = connected().await?;
    proxy.partition();
    let much = vec![1; 64 * 1024];
    let mut sent = 0;
    while let Ok(written) = timeout(SILENCE, stream.write(&much)).await {
        sent += written?;
        anyhow::ensure!(sent < 256 * 1024 * 1024, "the proxy takes everything");
    }
    proxy.heal()?;
    hear(&mut stream, &vec![1; sent]).await
}
