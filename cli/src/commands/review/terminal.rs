//! A terminal taken over for a while, and given back whatever happens.

use std::io::{self, Stdout};

use ratatui::{
    Frame,
    backend::CrosstermBackend,
    crossterm::{
        event::{self, Event},
        execute,
        terminal::{EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode},
    },
};
use tokio::sync::mpsc;

/// The whole terminal; dropping it gives the terminal back.
#[derive(Debug)]
pub(super) struct Terminal {
    screen: ratatui::Terminal<CrosstermBackend<Stdout>>,
    events: mpsc::Receiver<io::Result<Event>>,
}

impl Terminal {
    /// Takes the terminal over.
    pub(super) fn open() -> io::Result<Self> {
        enable_raw_mode()?;
        let taken = execute!(io::stdout(), EnterAlternateScreen)
            .and_then(|()| ratatui::Terminal::new(CrosstermBackend::new(io::stdout())));
        let screen = match taken {
            Ok(screen) => screen,
            Err(error) => {
                give_back();
                return Err(error);
            }
        };
        let (sender, events) = mpsc::channel(16);
        // It waits for a key when the command ends; the end of the process ends it.
        std::thread::spawn(move || {
            loop {
                let event = event::read();
                let is_last = event.is_err();
                if sender.blocking_send(event).is_err() || is_last {
                    return;
                }
            }
        });
        Ok(Self { screen, events })
    }

    /// Draws a frame.
    pub(super) fn draw(&mut self, draw: impl FnOnce(&mut Frame<'_>)) -> io::Result<()> {
        self.screen.draw(draw).map(drop)
    }

    /// What happens next; `None` when the terminal is gone.
    pub(super) async fn event(&mut self) -> io::Result<Option<Event>> {
        self.events.recv().await.transpose()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        give_back();
    }
}

fn give_back() {
    // When the terminal is gone there is nothing left to give back.
    drop(disable_raw_mode());
    drop(execute!(io::stdout(), LeaveAlternateScreen));
}
