//! How a case is measured: by the clock, or so that an instruction counter can be put around it.

use std::{env, hint::black_box, mem, process};

use criterion::{BatchSize, Criterion, Throughput};

pub(crate) enum Measure {
    /// The default, with the arguments of criterion.
    Time(Box<Criterion>),
    /// `--callgrind STAGE/SERVICE REPETITIONS INPUTS`: one case so many times and nothing else, for `deploy/instructions`.
    Instructions { case: String, repetitions: usize, inputs: usize },
    /// `--cases`: the names of all.
    Names,
}

/// A case that somebody asked for.
pub(crate) struct Case<'a> {
    measure: &'a mut Measure,
    stage: &'static str,
    service: &'static str,
}

impl Measure {
    pub(crate) fn of_arguments() -> Self {
        let arguments: Vec<String> = env::args().skip(1).collect();
        let number = |text: &str| text.parse().expect("a number of repetitions");
        match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            ["--cases"] => Self::Names,
            ["--callgrind", case, repetitions, inputs] => Self::Instructions {
                case: case.to_owned(),
                repetitions: number(repetitions),
                inputs: number(inputs),
            },
            _ => Self::Time(Box::new(Criterion::default().configure_from_args())),
        }
    }

    /// `None` where nobody asked for it, so that nothing is set up.
    pub(crate) fn case(&mut self, stage: &'static str, service: &'static str) -> Option<Case<'_>> {
        let name = format!("{stage}/{service}");
        match self {
            Self::Names => {
                println!("{name}");
                return None;
            }
            Self::Instructions { case, .. } if *case != name => return None,
            Self::Instructions { .. } | Self::Time(_) => {}
        }
        Some(Case { measure: self, stage, service })
    }

    /// After the last case.
    pub(crate) fn end(self) {
        match self {
            Self::Time(criterion) => criterion.final_summary(),
            Self::Instructions { case, .. } => panic!("there is no case {case:?}; --cases names all"),
            Self::Names => {}
        }
    }
}

impl Case<'_> {
    /// Does the work again and again, each time with an input of its own. Making that is not measured, and neither is
    /// what becomes of the result. `messages` and `events`: how many one run of the work takes and makes.
    pub(crate) fn run<I, O>(
        self,
        messages: usize,
        events: usize,
        mut make: impl FnMut() -> I,
        mut work: impl FnMut(I) -> O,
    ) {
        match self.measure {
            Measure::Time(criterion) => {
                let mut group = criterion.benchmark_group(self.stage);
                group.throughput(Throughput::Elements(messages as u64));
                group.bench_function(self.service, |bencher| {
                    bencher.iter_batched(&mut make, &mut work, BatchSize::PerIteration);
                });
                group.finish();
            }
            Measure::Instructions { repetitions, inputs, .. } => {
                // As many are made as the longer of two runs takes, so that making them costs both the same.
                let inputs: Vec<I> = (0..*inputs).map(|_| make()).collect();
                let mut inputs = inputs.into_iter();
                for input in inputs.by_ref().take(*repetitions) {
                    mem::forget(black_box(work(black_box(input))));
                }
                println!("{messages} {events}");
                // Dropping what is left would cost the two differently.
                process::exit(0);
            }
            Measure::Names => {}
        }
    }
}
