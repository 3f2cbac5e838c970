//! Tests of the look at the judges.

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use super::*;

#[tokio::test]
async fn a_port_where_nobody_listens_is_told() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let reason = silence(&format!("http://{address}/v1")).await.unwrap();
    assert!(reason.to_lowercase().contains("refused"), "{reason}");
}

#[tokio::test]
async fn whoever_answers_is_there_even_when_it_wants_a_key() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/v1/", listener.local_addr().unwrap());
    let answering = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let read = stream.read(&mut [0; 4096]).await.unwrap();
        assert!(read > 0);
        let refusal = b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n";
        stream.write_all(refusal).await.unwrap();
        stream
    };
    let (reason, _open) = tokio::join!(silence(&url), answering);
    assert_eq!(reason, None);
}
