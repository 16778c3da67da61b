//! As much of HTTP/1.1 as it takes to pass messages on unchanged: where each one ends.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt};

const HEADERS: usize = 64;

/// A request or an answer, as it was read.
#[derive(Debug, Default)]
pub(crate) struct Message {
    /// All its bytes, to be passed on.
    pub(crate) raw: Vec<u8>,
    /// Of a request.
    pub(crate) method: String,
    pub(crate) target: String,
    /// Of an answer.
    pub(crate) status: u16,
    pub(super) headers: Vec<(String, String)>,
    /// Without the framing of chunks.
    pub(crate) body: Vec<u8>,
}

impl Message {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(own, _)| own.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// Whether the connection can be used again.
    pub(crate) fn keeps_alive(&self) -> bool {
        !self.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expect {
    Request,
    /// The answer to a request; one to HEAD has no body.
    Answer {
        to_head: bool,
    },
}

/// Reads one message; `None` if the connection ends before it begins.
pub(crate) async fn read(
    stream: &mut (impl AsyncRead + Unpin),
    expect: Expect,
) -> io::Result<Option<Message>> {
    let mut raw = Vec::with_capacity(4096);
    let (mut message, head) = loop {
        if stream.read_buf(&mut raw).await? == 0 {
            return if raw.is_empty() { Ok(None) } else { Err(cut_off()) };
        }
        if let Some(parsed) = parse(&raw, expect)? {
            break parsed;
        }
    };
    let bodiless = match expect {
        Expect::Request => false,
        Expect::Answer { to_head } => to_head || matches!(message.status, 100..200 | 204 | 304),
    };
    let length: Option<usize> =
        message.header("content-length").and_then(|length| length.parse().ok());
    let chunked = message
        .header("transfer-encoding")
        .is_some_and(|coding| coding.eq_ignore_ascii_case("chunked"));
    if bodiless {
    } else if chunked {
        let mut at = head;
        loop {
            let (start, size) = loop {
                match httparse::parse_chunk_size(&raw[at..]).map_err(|_| bad("a chunk"))? {
                    httparse::Status::Complete((start, size)) => break (at + start, size as usize),
                    httparse::Status::Partial => more(stream, &mut raw).await?,
                }
            };
            // The line end after the chunk, or after the trailers, of which there are none.
            at = start + size + 2;
            while raw.len() < at {
                more(stream, &mut raw).await?;
            }
            if size == 0 {
                break;
            }
            message.body.extend_from_slice(&raw[start..start + size]);
        }
    } else if let Some(length) = length {
        let end = head + length;
        while raw.len() < end {
            more(stream, &mut raw).await?;
        }
        message.body = raw[head..end].to_vec();
    } else if expect != Expect::Request {
        return Err(bad("an answer without a length"));
    }
    message.raw = raw;
    Ok(Some(message))
}

async fn more(stream: &mut (impl AsyncRead + Unpin), raw: &mut Vec<u8>) -> io::Result<()> {
    if stream.read_buf(raw).await? == 0 { Err(cut_off()) } else { Ok(()) }
}

fn parse(raw: &[u8], expect: Expect) -> io::Result<Option<(Message, usize)>> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS];
    let mut message = Message::default();
    let parsed = if expect == Expect::Request {
        let mut request = httparse::Request::new(&mut headers);
        let parsed = request.parse(raw).map_err(|_| bad("a request"))?;
        message.method = request.method.unwrap_or_default().to_owned();
        message.target = request.path.unwrap_or_default().to_owned();
        message.headers = owned(request.headers);
        parsed
    } else {
        let mut answer = httparse::Response::new(&mut headers);
        let parsed = answer.parse(raw).map_err(|_| bad("an answer"))?;
        message.status = answer.code.unwrap_or_default();
        message.headers = owned(answer.headers);
        parsed
    };
    Ok(match parsed {
        httparse::Status::Complete(head) => Some((message, head)),
        httparse::Status::Partial => None,
    })
}

fn owned(headers: &[httparse::Header<'_>]) -> Vec<(String, String)> {
    let owned = |header: &httparse::Header<'_>| {
        (header.name.to_owned(), String::from_utf8_lossy(header.value).into_owned())
    };
    headers.iter().filter(|header| !header.name.is_empty()).map(owned).collect()
}

fn bad(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("cannot read {what}"))
}

fn cut_off() -> io::Error {
    io::ErrorKind::UnexpectedEof.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read_all(bytes: &[u8], expect: Expect) -> io::Result<Option<Message>> {
        let (mut near, mut far) = tokio::io::duplex(7);
        let bytes = bytes.to_vec();
        let write = tokio::spawn(async move {
            let _ = tokio::io::AsyncWriteExt::write_all(&mut far, &bytes).await;
        });
        let message = read(&mut near, expect).await;
        drop(near);
        write.await.unwrap();
        message
    }

    const ANSWER: Expect = Expect::Answer { to_head: false };

    #[tokio::test]
    async fn a_request_with_a_body() {
        let raw = b"PUT /a/b?c=d HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello";
        let message = read_all(raw, Expect::Request).await.unwrap().unwrap();
        assert_eq!((&*message.method, &*message.target), ("PUT", "/a/b?c=d"));
        assert_eq!((&*message.body, &*message.raw), (&b"hello"[..], &raw[..]));
        assert!(message.keeps_alive());
    }

    #[tokio::test]
    async fn an_answer_in_chunks() {
        let raw = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n5\r\nhello\r\n3\r\n yo\r\n0\r\n\r\n";
        let message = read_all(raw, ANSWER).await.unwrap().unwrap();
        assert_eq!((message.status, &*message.body), (200, &b"hello yo"[..]));
        assert_eq!(message.raw, raw);
        assert!(!message.keeps_alive());
    }

    #[tokio::test]
    async fn an_answer_without_a_body_and_one_cut_off() {
        let raw = b"HTTP/1.1 204 No Content\r\nx: y\r\n\r\n";
        assert_eq!(read_all(raw, ANSWER).await.unwrap().unwrap().header("X"), Some("y"));
        let raw = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort";
        assert!(read_all(raw, ANSWER).await.is_err());
        assert!(read_all(b"", ANSWER).await.unwrap().is_none());
    }
}
