//! Checks a GPU, its driver and its libraries by what the CUDA engine does with them; one line for each check.
//!
//! `cargo run -p clara-gpu-worker --example cuda_check [ORDINAL]`; exits with 1 when a check fails. With `compile 90` it compiles all
//! kernels for that architecture into the cache instead, which needs NVRTC but no GPU.

#![expect(
    clippy::indexing_slicing,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::many_single_char_names,
    clippy::float_cmp,
    reason = "a check of small numbers may fail in any way"
)]

mod products;

use std::{io::Write as _, process::ExitCode, sync::Arc, time::Instant};

use anyhow::{Context as _, Result, bail, ensure};
use clara_gpu_worker::cuda::{
    Address, Argument, Buffer, Device, DeviceError, Element, Gemm, Launch, Operand,
    availability::availability,
    compiler::{Architecture, Compiler},
    driver::{CudaDevice, CudaOptions},
    kernels::SOURCES,
    telemetry::Telemetry,
};
use half::bf16;

use products::{SHAPES, speed, untuned_products};

fn main() -> Result<ExitCode> {
    let options = CudaOptions::from_environment();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let ordinal = match arguments.as_slice() {
        [] => 0,
        [ordinal] => ordinal.parse()?,
        [word, number] if word == "compile" => return compile(&options, number.parse()?),
        _ => bail!("usage: cuda_check [ORDINAL | compile ARCHITECTURE]"),
    };
    say(&format!("found    {}", availability(&options.libraries)));
    let start = Instant::now();
    let cuda = Arc::new(CudaDevice::new(ordinal, &options)?);
    say(&format!("open     {} in {:.2} s", cuda.name(), start.elapsed().as_secs_f64()));
    let device: Arc<dyn Device> = Arc::clone(&cuda) as Arc<dyn Device>;
    let mut failed = 0;
    let mut check = |name: &str, outcome: Result<String>| match outcome {
        Ok(found) => say(&format!("ok       {name}: {found}")),
        Err(error) => {
            failed += 1;
            say(&format!("FAILED   {name}: {error:#}"));
        }
    };
    check("memory", memory(&device));
    check("writes and reads", copies(&device));
    check("kernels", kernels(&device));
    check("errors", errors(&device));
    for shape in SHAPES {
        check(&shape.to_string(), shape.check(&device));
    }
    check("recording", recording(&device));
    check("recording refuses", refused_in_recording(&device));
    check("threads", threads(&device));
    check("telemetry", telemetry(&options, &cuda));
    check("speed", speed(&device));
    let untuned = CudaOptions { autotune: false, ..options };
    check("without tuning", untuned_products(ordinal, &untuned));
    for product in cuda.products() {
        let (name, algorithm) = (product.product, product.algorithm);
        say(&format!("product  {name}: {} calls, {algorithm} of {}", product.calls, product.candidates));
    }
    say(&format!("{failed} checks failed"));
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn compile(options: &CudaOptions, number: u32) -> Result<ExitCode> {
    let architecture = Architecture { major: number / 10, minor: number % 10 };
    let start = Instant::now();
    let compiler = Compiler::new(&options.libraries, architecture, options.kernel_cache.clone())?;
    let cubins = compiler.compile_all(SOURCES)?;
    let (bytes, seconds) = (cubins.iter().map(Vec::len).sum::<usize>(), start.elapsed().as_secs_f64());
    let (major, minor) = compiler.version();
    say(&format!(
        "compiled {} files for {architecture} by NVRTC {major}.{minor}: {bytes} bytes in {seconds:.1} s",
        cubins.len()
    ));
    Ok(ExitCode::SUCCESS)
}

fn say(line: &str) {
    // Nobody reads on when this fails.
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// Numbers that look random, between -1 and 1.
struct Random(u64);

impl Random {
    fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        bf16::from_f32((self.0 >> 40) as f32 / (1 << 23) as f32 - 1.0).to_f32()
    }

    fn values(&mut self, count: usize) -> Vec<f32> {
        (0..count).map(|_| self.next()).collect()
    }
}

fn upload(device: &Arc<dyn Device>, values: &[f32], element: Element) -> Result<Buffer> {
    let bytes: Vec<u8> = match element {
        Element::Bf16 => values.iter().flat_map(|value| bf16::from_f32(*value).to_le_bytes()).collect(),
        Element::F32 => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
    };
    let buffer = Buffer::new(device, bytes.len())?;
    device.write(buffer.address(), &bytes)?;
    Ok(buffer)
}

fn download(device: &Arc<dyn Device>, buffer: &Buffer, element: Element) -> Result<Vec<f32>> {
    let mut bytes = vec![0; buffer.bytes()];
    device.read(buffer.address(), &mut bytes)?;
    Ok(match element {
        Element::Bf16 => {
            bytes.as_chunks().0.iter().map(|bytes| bf16::from_le_bytes(*bytes).to_f32()).collect()
        }
        Element::F32 => bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect(),
    })
}

fn memory(device: &Arc<dyn Device>) -> Result<String> {
    let before = device.memory()?;
    let buffer = Buffer::new(device, 1 << 30)?;
    ensure!(buffer.address().0.is_multiple_of(256), "{:?} is not aligned", buffer.address());
    let during = device.memory()?;
    ensure!(during.free + (1 << 30) <= before.free, "{before:?} then {during:?}");
    drop(buffer);
    let after = device.memory()?;
    ensure!(after.free >= during.free + (1 << 30), "{during:?} then {after:?}");
    let wanted = usize::try_from(before.total * 2)?;
    match Buffer::new(device, wanted) {
        Err(DeviceError::OutOfMemory { bytes, free }) => {
            ensure!(bytes == before.total * 2 && free > 0, "{bytes} bytes asked, {free} free");
        }
        other => bail!("{wanted} bytes gave {other:?}"),
    }
    Ok(format!("{} MiB of {} free", after.free >> 20, after.total >> 20))
}

fn copies(device: &Arc<dyn Device>) -> Result<String> {
    // More than the ring of pinned memory holds, and small ones that go around it more than once.
    let big: Vec<u8> =
        (0..100_000_007_u32).map(|index| (index.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let buffer = Buffer::new(device, big.len())?;
    let start = Instant::now();
    device.write(buffer.address(), &big)?;
    device.finish()?;
    let write = start.elapsed().as_secs_f64();
    let mut back = vec![0; big.len()];
    let start = Instant::now();
    device.read(buffer.address(), &mut back)?;
    let read = start.elapsed().as_secs_f64();
    ensure!(back == big, "100 MB came back changed");
    let pieces: Vec<&[u8]> = big.chunks(33_333).collect();
    let small = Buffer::new(device, big.len())?;
    let mut at = small.address();
    for piece in pieces {
        device.write(at, piece)?;
        at = at.at(piece.len());
    }
    device.read(small.address(), &mut back)?;
    ensure!(back == big, "small pieces came back changed");
    device.zero(small.address().at(1), 1000)?;
    device.read(small.address(), &mut back)?;
    ensure!(back[0] == big[0] && back[1..1001].iter().all(|byte| *byte == 0) && back[1001..] == big[1001..]);
    let rate = |seconds: f64| big.len() as f64 / seconds / 1e9;
    Ok(format!("{:.1} GB/s there, {:.1} GB/s back", rate(write), rate(read)))
}

/// Arguments of `copy_rows` and `add_rows`.
fn rows_arguments(to: Address, from: Address, [rows, width, stride]: [i32; 3]) -> [Argument; 6] {
    [
        Argument::Address(to),
        Argument::Int(stride),
        Argument::Address(from),
        Argument::Int(stride),
        Argument::Int(rows),
        Argument::Int(width),
    ]
}

fn start_rows(device: &dyn Device, kernel: &'static str, arguments: &[Argument]) -> Result<(), DeviceError> {
    device.launch(Launch { kernel, grid: [256, 1, 1], threads: 256, shared_bytes: 0, arguments })
}

fn kernels(device: &Arc<dyn Device>) -> Result<String> {
    let (rows, width, stride) = (77, 136, 144);
    let mut random = Random(1);
    let (a, b) = (random.values(rows * stride), random.values(rows * stride));
    let (to, from) = (upload(device, &a, Element::Bf16)?, upload(device, &b, Element::Bf16)?);
    let shape = [rows as i32, width as i32, stride as i32];
    let arguments = rows_arguments(to.address(), from.address(), shape);
    let start = |kernel| start_rows(device.as_ref(), kernel, &arguments);
    let expect = |sum: &dyn Fn(f32, f32) -> f32| -> Result<()> {
        for (index, found) in download(device, &to, Element::Bf16)?.into_iter().enumerate() {
            let inside = index % stride < width;
            let wanted = if inside { bf16::from_f32(sum(a[index], b[index])).to_f32() } else { a[index] };
            ensure!(found == wanted, "value {index} is {found}, expected {wanted}");
        }
        Ok(())
    };
    start("add_rows")?;
    expect(&|a, b| a + b)?;
    start("copy_rows")?;
    expect(&|_, b| b)?;
    Ok("copy_rows and add_rows".to_owned())
}

fn errors(device: &Arc<dyn Device>) -> Result<String> {
    let unknown = Launch { kernel: "absent", grid: [1; 3], threads: 32, shared_bytes: 0, arguments: &[] };
    ensure!(matches!(device.launch(unknown), Err(DeviceError::Kernel { .. })), "an unknown kernel was taken");
    let few = Launch { kernel: "copy_rows", ..unknown };
    let refused = device.launch(few);
    ensure!(matches!(refused, Err(DeviceError::Kernel { .. })), "too few arguments gave {refused:?}");
    let arguments = rows_arguments(Address::NULL, Address::NULL, [0, 8, 8]);
    let shared = Launch { kernel: "copy_rows", shared_bytes: 1 << 20, arguments: &arguments, ..unknown };
    let refused = device.launch(shared);
    ensure!(matches!(refused, Err(DeviceError::Failed { .. })), "too much shared memory gave {refused:?}");
    let large = Launch { shared_bytes: 160 << 10, ..shared };
    device.launch(large).context("160 KiB of shared memory")?;
    let threads = Launch { kernel: "copy_rows", threads: 2048, arguments: &arguments, ..unknown };
    let refused = device.launch(threads);
    ensure!(matches!(refused, Err(DeviceError::Failed { .. })), "2,048 threads gave {refused:?}");
    device.finish()?;
    Ok(format!("{}", refused.err().context("an error")?))
}

/// Adds `b` to `a` three times by a recording of a zeroing, a copy, a product and a sum.
fn recording(device: &Arc<dyn Device>) -> Result<String> {
    let side = 64_usize;
    let values: Vec<f32> = (0..side * side).map(|index| (index % 5) as f32 - 2.0).collect();
    let identity: Vec<f32> = (0..side * side).map(|i| f32::from(u8::from(i / side == i % side))).collect();
    let (x, one) = (upload(device, &values, Element::Bf16)?, upload(device, &identity, Element::Bf16)?);
    let (sum, product) = (Buffer::new(device, x.bytes())?, Buffer::new(device, x.bytes())?);
    device.zero(sum.address(), sum.bytes())?;
    let operand = |buffer: &Buffer| Operand { address: buffer.address(), stride: side, transposed: false };
    let gemm = Gemm {
        m: side,
        n: side,
        k: side,
        alpha: 1.0,
        a: operand(&x),
        b: operand(&one),
        c: None,
        d: operand(&product),
        result: Element::Bf16,
        bias: None,
    };
    let arguments = rows_arguments(sum.address(), product.address(), [side as i32; 3]);
    let mut work = || {
        device.zero(product.address(), product.bytes())?;
        device.multiply(&gemm)?;
        start_rows(device.as_ref(), "add_rows", &arguments)
    };
    work()?;
    device.finish()?;
    let graph = device.record(&mut work)?.context("the GPU does not record")?;
    let expect = |times: f32| -> Result<()> {
        for (index, found) in download(device, &sum, Element::Bf16)?.iter().enumerate() {
            let wanted = values[index] * times;
            ensure!(*found == wanted, "after {times} times, value {index} is {found}, expected {wanted}");
        }
        Ok(())
    };
    expect(1.0).context("recording ran")?;
    device.replay(graph)?;
    device.replay(graph)?;
    expect(3.0)?;
    // An argument's memory changes under the recording; the next replay sees it.
    device.zero(x.address(), x.bytes())?;
    device.replay(graph)?;
    expect(3.0)?;
    let start = Instant::now();
    for _ in 0..1000 {
        device.replay(graph)?;
    }
    device.finish()?;
    let seconds = start.elapsed().as_secs_f64();
    device.discard(graph);
    ensure!(device.replay(graph).is_err(), "a discarded recording ran");
    Ok(format!("{:.1} µs for a replay of three", seconds * 1000.0))
}

fn refused_in_recording(device: &Arc<dyn Device>) -> Result<String> {
    let buffer = Buffer::new(device, 64)?;
    let refused = device.record(&mut || device.write(buffer.address(), &[1; 64]));
    ensure!(matches!(refused, Err(DeviceError::Failed { .. })), "a write gave {refused:?}");
    let refused = device.record(&mut || device.allocate(1 << 20).map(|_| ()));
    ensure!(refused.is_err(), "memory was taken in a recording");
    let refused = device.record(&mut || device.record(&mut || Ok(())).map(|_| ()));
    ensure!(refused.is_err(), "a recording was begun in a recording");
    device.write(buffer.address(), &[7; 64])?;
    let mut bytes = [0; 64];
    device.read(buffer.address(), &mut bytes)?;
    ensure!(bytes == [7; 64], "the device does not work after a refused recording");
    Ok("writes, memory and recordings; and works on".to_owned())
}

fn threads(device: &Arc<dyn Device>) -> Result<String> {
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..4_u8)
            .map(|number| {
                scope.spawn(move || -> Result<()> {
                    for _ in 0..50 {
                        let buffer = Buffer::new(device, 10_000)?;
                        device.write(buffer.address(), &[number; 10_000])?;
                        let mut bytes = vec![0; 10_000];
                        device.read(buffer.address(), &mut bytes)?;
                        ensure!(bytes.iter().all(|byte| *byte == number), "bytes of another thread");
                    }
                    Ok(())
                })
            })
            .collect();
        for worker in workers {
            worker.join().map_err(|_| anyhow::anyhow!("a thread panicked"))??;
        }
        Ok("4 at once".to_owned())
    })
}

fn telemetry(options: &CudaOptions, cuda: &CudaDevice) -> Result<String> {
    let telemetry =
        Telemetry::open(&options.libraries, cuda.bus_id()).context("NVML does not know the GPU")?;
    Ok(format!("{:?}", telemetry.read()))
}
