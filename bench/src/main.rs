//! The program: see `--help`, and `bench/README.md`.

mod cli;

use std::path::Path;

#[cfg(feature = "azure")]
use bench::azure;
use bench::figure::{Figure, LeftOut, Report};
use bench::machine::Machine;
use bench::round::Effort;
use bench::{instructions, memory, micro, results, scale, table, telemetry};

use self::cli::{Command, Part};

#[allow(clippy::print_stdout, reason = "it is what it is for")]
fn main() -> anyhow::Result<()> {
    let options = match cli::parse(std::env::args().skip(1))? {
        Command::Help => {
            println!("{}", cli::USAGE);
            return Ok(());
        }
        Command::Work { case, jobs, one_thread } => {
            return instructions::work(&case, jobs, one_thread);
        }
        Command::Flow { jobs } => {
            println!("{}", serde_json::to_string(&scale::flow::run(jobs)?)?);
            return Ok(());
        }
        #[cfg(feature = "azure")]
        Command::Serve { queue } => return azure::processes::serve(&queue),
        Command::Instructions { effort, record } => {
            println!("{}", instructions::compare(effort, record)?);
            return Ok(());
        }
        Command::Telemetry { effort } => {
            println!("{}", telemetry::compare(effort)?);
            return Ok(());
        }
        Command::Run(options) => options,
    };
    let mut figures = Vec::new();
    let mut left_out = LeftOut::default();
    for part in options.parts {
        // What fails does not take along what others have measured.
        let measured = measure(part, options.effort, &mut left_out);
        figures.extend(left_out.unless(&format!("{part:?}"), measured).unwrap_or_default());
    }
    let (machine, rounds) = (Machine::here(), options.effort.rounds);
    let report = Report { machine, rounds, figures, left_out };
    if options.save {
        results::save(&report, Path::new(env!("CARGO_MANIFEST_DIR")))?;
    }
    if options.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        println!("{}", table::of_report(&report));
    }
    Ok(())
}

fn measure(part: Part, effort: Effort, left_out: &mut LeftOut) -> anyhow::Result<Vec<Figure>> {
    match part {
        Part::Memory => {
            let mut figures = memory::measure(effort)?;
            let allocations = left_out.unless("allocations", memory::allocations(effort));
            figures.extend(allocations.unwrap_or_default());
            Ok(figures)
        }
        Part::Latency => memory::start_latency(effort),
        #[cfg(feature = "azure")]
        Part::Azure => azure::measure(effort, left_out),
        Part::Scale => scale::measure(effort, left_out),
        Part::Micro => micro::measure(effort),
    }
}
