//! A mail server for demonstrations: as much of SMTP as a client needs to hand mail over.

use std::collections::{HashSet, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// How many mails it takes in how long.
const MOST: (usize, Duration) = (3, Duration::from_millis(500));

/// It takes all mail but that to `nobody@..`, whom it does not know; to `grey@..`, the first time:
/// "greylisting", by which many servers get rid of senders that never try again; to `login@..`, the
/// first time, for which it wants a login; and more than three in half a second.
#[derive(Clone, Default)]
pub struct MailServer {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    met: HashSet<String>,
    asked: VecDeque<Instant>,
    too_fast: u32,
    mails: Vec<Mail>,
}

/// A mail that was taken.
#[derive(Clone)]
pub struct Mail {
    /// Whom it is for.
    pub to: String,
    /// All of it, headers included.
    pub text: String,
}

impl MailServer {
    /// Listens until the program ends; where.
    pub async fn start(&self) -> io::Result<SocketAddr> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let (address, server) = (listener.local_addr()?, self.clone());
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let server = server.clone();
                tokio::spawn(async move { server.talk(socket).await });
            }
        });
        Ok(address)
    }

    /// What it has taken.
    pub fn mails(&self) -> Vec<Mail> {
        self.state.lock().expect("nobody panics with it").mails.clone()
    }

    /// How often it has told somebody that they send too fast.
    pub fn too_fast(&self) -> u32 {
        self.state.lock().expect("nobody panics with it").too_fast
    }

    async fn talk(&self, socket: TcpStream) -> io::Result<()> {
        let (lines, mut out) = socket.into_split();
        let mut lines = BufReader::new(lines).lines();
        let mut to = String::new();
        out.write_all(b"220 localhost\r\n").await?;
        while let Some(line) = lines.next_line().await? {
            let answer = match line.split([':', ' ']).next().unwrap_or_default() {
                "RCPT" => {
                    to = line.split(['<', '>']).nth(1).unwrap_or_default().to_owned();
                    self.judge(&to)
                }
                "DATA" => {
                    out.write_all(b"354 go on, end with a dot\r\n").await?;
                    let mut text = String::new();
                    while let Some(line) = lines.next_line().await?.filter(|line| line != ".") {
                        text += &line;
                        text += "\n";
                    }
                    let mail = Mail { to: to.clone(), text };
                    self.state.lock().expect("nobody panics with it").mails.push(mail);
                    "250 taken"
                }
                "QUIT" => "221 good bye",
                _ => "250 well",
            };
            out.write_all(format!("{answer}\r\n").as_bytes()).await?;
        }
        Ok(())
    }

    fn judge(&self, to: &str) -> &'static str {
        let mut state = self.state.lock().expect("nobody panics with it");
        if state.is_too_fast(Instant::now()) {
            return "421 too fast";
        }
        match to.split('@').next() {
            Some("nobody") => "550 there is no such mailbox",
            Some("grey") if state.met.insert(to.to_owned()) => "451 come again later",
            Some("login") if state.met.insert(to.to_owned()) => "530 log in first",
            _ => "250 well",
        }
    }
}

impl State {
    fn is_too_fast(&mut self, now: Instant) -> bool {
        let (most, within) = MOST;
        self.asked.retain(|at| now.duration_since(*at) < within);
        self.asked.push_back(now);
        let too_fast = self.asked.len() > most;
        self.too_fast += u32::from(too_fast);
        too_fast
    }
}
