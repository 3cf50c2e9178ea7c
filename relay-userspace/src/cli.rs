//! The command line: which commands exist and how they are dispatched. Does nothing else.

use clap::{Parser, Subcommand};

use crate::broken_pipe;
use crate::command;
use crate::command::output::{self, Colour};
use crate::exit::{Exit, Failure};

const EXAMPLES: &str = "\
Examples:
  xdp-relay check /etc/xdp-relay/ingress.toml   say everything that is wrong with a configuration
  xdp-relay run --config ingress.toml           load a relay and keep it going until SIGTERM
  xdp-relay doctor --config ingress.toml        say what on this machine would break it, and what mends it
  xdp-relay status                              show what a relay is and does right now
  xdp-relay counters                            show what became of every packet
  xdp-relay clients                             show the clients of an ingress relay, the largest first
  xdp-relay client show 198.51.100.2            show all that is known of one client
  xdp-relay block add 192.0.2.7 --for 1h        drop what a client sends, at once
  xdp-relay limit show                          show what clients may send
  xdp-relay why 198.51.100.2                    say what would become of a client's packet now, and why
  xdp-relay events --follow                     show which packets are dropped, and why
  xdp-relay capture -w drops.pcapng             the same for Wireshark
  xdp-relay unload                              stop its traffic and remove it
  xdp-relay help check                          say what a command does, with examples
";

/// An XDP relay that hides a service behind two tiers of hosts.
#[derive(Debug, Parser)]
#[command(name = "xdp-relay", version, about, after_help = after_help())]
pub struct Cli {
    #[command(subcommand)]
    command: Command,

    /// Colour messages
    #[arg(long, global = true, value_enum, default_value_t = Colour::Auto, value_name = "WHEN")]
    color: Colour,
}

#[derive(Debug, Subcommand)]
enum Command {
    Check(command::check::Check),
    #[command(hide = true)]
    Generate(command::generate::Generate),
    Run(command::run::Run),
    Status(command::status::Status),
    Counters(command::counters::Counters),
    Clients(command::clients::Clients),
    Client(command::client::Client),
    Block(command::block::Block),
    Allow(command::allow::Allow),
    Ban(command::ban::Ban),
    Limit(command::limit::Limit),
    Why(command::why::Why),
    Events(command::events::Events),
    Capture(command::capture::Capture),
    Doctor(command::doctor::Doctor),
    Unload(command::unload::Unload),
}

impl Command {
    /// Whether this is the daemon, which must outlive the reader of its output.
    fn is_daemon(&self) -> bool {
        match self {
            Self::Run(_) => true,
            Self::Check(_)
            | Self::Generate(_)
            | Self::Status(_)
            | Self::Counters(_)
            | Self::Clients(_)
            | Self::Client(_)
            | Self::Block(_)
            | Self::Allow(_)
            | Self::Ban(_)
            | Self::Limit(_)
            | Self::Why(_)
            | Self::Events(_)
            | Self::Capture(_)
            | Self::Doctor(_)
            | Self::Unload(_) => false,
        }
    }

    fn run(&self) -> Result<Exit, Failure> {
        match self {
            Self::Check(check) => check.run(),
            Self::Generate(generate) => generate.run(),
            Self::Run(run) => run.run(),
            Self::Status(status) => status.run(),
            Self::Counters(counters) => counters.run(),
            Self::Clients(clients) => clients.run(),
            Self::Client(client) => client.run(),
            Self::Block(block) => block.run(),
            Self::Allow(allow) => allow.run(),
            Self::Ban(ban) => ban.run(),
            Self::Limit(limit) => limit.run(),
            Self::Why(why) => why.run(),
            Self::Events(events) => events.run(),
            Self::Capture(capture) => capture.run(),
            Self::Doctor(doctor) => doctor.run(),
            Self::Unload(unload) => unload.run(),
        }
    }
}

/// Reads the command line, runs the command, reports its failure.
#[must_use]
pub fn run() -> Exit {
    let cli = Cli::parse();
    output::choose_colour(cli.color);
    if !cli.command.is_daemon() {
        broken_pipe::end_quietly();
    }
    cli.command.run().unwrap_or_else(|failure| {
        eprintln!("{failure}");
        failure.exit
    })
}

fn after_help() -> String {
    let mut text = String::from(EXAMPLES);
    text.push_str("\nExit codes:\n");
    for exit in Exit::ALL {
        text.push_str(&format!("  {}  {}\n", exit.code(), exit.meaning()));
    }
    text
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn help_lists_every_exit_code() {
        let help = Cli::command().render_long_help().to_string();
        for exit in Exit::ALL {
            assert!(help.contains(exit.meaning()), "{}", exit.meaning());
        }
    }
}
