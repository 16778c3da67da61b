//! A wire to Azurite that a test can cut.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;

use job_azurite::Azurite;

/// What becomes of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Wire {
    #[default]
    Whole,
    /// Connections are closed, and new ones at once.
    Cut,
    /// Nothing is answered.
    Silent,
    /// Requests that begin with this are not passed on, nor what follows them; the test is told.
    Holds(String),
}

/// It listens for as long as the test's process lives.
pub struct Front {
    address: SocketAddr,
    state: Arc<State>,
    held: Receiver<()>,
}

#[derive(Default)]
struct State {
    wire: Mutex<Wire>,
    open: Mutex<Vec<TcpStream>>,
}

impl Front {
    pub fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State::default());
        let (tell, held) = channel();
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for from in listener.incoming().map_while(Result::ok) {
                let (state, tell) = (Arc::clone(&shared), tell.clone());
                thread::spawn(move || state.connection(from, &tell));
            }
        });
        Self { address, state, held }
    }

    /// As Azurite's own, by way of this.
    pub fn connection_string(&self) -> String {
        let own = Azurite::shared();
        let host = own.url().split('/').nth(2).unwrap();
        own.connection_string().replace(host, &self.address.to_string())
    }

    /// From now on.
    pub fn set(&self, wire: Wire) {
        let cut = wire == Wire::Cut;
        *self.state.wire.lock().unwrap() = wire;
        if cut {
            for stream in self.state.open.lock().unwrap().drain(..) {
                let _ = stream.shutdown(Shutdown::Both);
            }
        }
    }

    /// Waits until a request is held.
    #[track_caller]
    pub fn holds(&self) {
        self.held.recv_timeout(crate::observe::LIMIT).expect("no such request came");
    }
}

impl State {
    fn connection(&self, from: TcpStream, tell: &Sender<()>) {
        // Entered before the wire is looked at, or one that is cut just now would stay.
        self.open.lock().unwrap().push(from.try_clone().unwrap());
        if *self.wire.lock().unwrap() == Wire::Cut {
            let _ = from.shutdown(Shutdown::Both);
            return;
        }
        let host = Azurite::shared().url().split('/').nth(2).unwrap().to_owned();
        let Ok(to) = TcpStream::connect(host) else { return };
        let (from_back, to_back) = (from.try_clone().unwrap(), to.try_clone().unwrap());
        thread::spawn(move || pass(to_back, from_back, |_| true));
        pass(from, to, |bytes| match &*self.wire.lock().unwrap() {
            Wire::Whole => true,
            Wire::Cut | Wire::Silent => false,
            Wire::Holds(begin) => {
                let holds = bytes.starts_with(begin.as_bytes());
                if holds {
                    let _ = tell.send(());
                }
                !holds
            }
        });
    }
}

/// Copies one way until the end. What is not let through ends it, and leaves both ends open.
fn pass(mut from: TcpStream, mut to: TcpStream, lets: impl Fn(&[u8]) -> bool) {
    let mut buffer = [0; 64 << 10];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        if !lets(&buffer[..read]) {
            // Whoever waits for an answer waits.
            let _ = from.read_to_end(&mut Vec::new());
            break;
        }
        if to.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}
