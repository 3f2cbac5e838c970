//! Products of matrices: right for every shape that the engine has, with every way of adding, and how fast they are.

use std::{sync::Arc, time::Instant};

use anyhow::{Result, ensure};
use clara_gpu_worker::cuda::{
    Address, Argument, Buffer, Device, DeviceError, Element, Gemm, Operand,
    driver::{CudaDevice, CudaOptions},
};

use super::{Random, download, start_rows, upload};

/// A product to check.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    size: [usize; 3],
    /// Of a and b.
    transposed: [bool; 2],
    /// Added to all strides, which are then rounded up to multiples of 8.
    gap: usize,
    /// Elements between the start of the memory and the operands.
    offset: usize,
    added: Added,
    result: Element,
    bias: bool,
    alpha: f32,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Added {
    Nothing,
    Other,
    InPlace,
}

const PLAIN: Shape = Shape {
    size: [256, 384, 512],
    transposed: [false, true],
    gap: 0,
    offset: 0,
    added: Added::Nothing,
    result: Element::Bf16,
    bias: false,
    alpha: 1.0,
};

pub(crate) const SHAPES: [Shape; 18] = [
    PLAIN,
    Shape { transposed: [false, false], ..PLAIN },
    Shape { transposed: [true, false], ..PLAIN },
    Shape { transposed: [true, true], ..PLAIN },
    Shape { gap: 16, offset: 8, ..PLAIN },
    Shape { size: [250, 392, 520], gap: 8, transposed: [false, false], ..PLAIN },
    Shape { size: [1, 384, 512], ..PLAIN },
    Shape { size: [777, 16, 512], gap: 8, ..PLAIN },
    Shape { size: [16, 512, 2000], transposed: [true, false], result: Element::F32, ..PLAIN },
    Shape { added: Added::Other, ..PLAIN },
    Shape { added: Added::InPlace, ..PLAIN },
    Shape { added: Added::InPlace, result: Element::F32, transposed: [true, false], ..PLAIN },
    Shape { added: Added::Other, gap: 24, offset: 16, transposed: [false, false], ..PLAIN },
    Shape { bias: true, ..PLAIN },
    Shape { bias: true, added: Added::Other, gap: 8, ..PLAIN },
    Shape { alpha: 0.125, result: Element::F32, size: [16, 640, 1024], transposed: [true, false], ..PLAIN },
    Shape { size: [64, 1003, 256], ..PLAIN },
    Shape { size: [2048, 2048, 2064], gap: 0, added: Added::InPlace, ..PLAIN },
];

impl std::fmt::Display for Shape {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [m, n, k] = self.size;
        let mark = self.transposed.map(|transposed| if transposed { "ᵀ" } else { "" });
        write!(
            formatter,
            "[{m}, {k}]{} · [{k}, {n}]{} {:?}, gap {}, offset {}, added {:?}, bias {}, alpha {}",
            mark[0], mark[1], self.result, self.gap, self.offset, self.added, self.bias, self.alpha
        )
    }
}

impl Shape {
    pub(crate) fn check(&self, device: &Arc<dyn Device>) -> Result<String> {
        let [m, n, k] = self.size;
        let mut random = Random(7);
        let stored = |rows, columns, transposed| if transposed { [columns, rows] } else { [rows, columns] };
        let mut matrix = |[rows, columns]: [usize; 2]| {
            let stride = (columns + self.gap).next_multiple_of(8);
            (random.values(self.offset + rows * stride), stride)
        };
        let (a, a_stride) = matrix(stored(m, k, self.transposed[0]));
        let (b, b_stride) = matrix(stored(k, n, self.transposed[1]));
        let (c, c_stride) = matrix([m, n]);
        let (before, d_stride) = matrix([m, n]);
        let (bias, _) = matrix([1, n]);
        let on_device = [
            upload(device, &a, Element::Bf16)?,
            upload(device, &b, Element::Bf16)?,
            upload(device, &c, self.result)?,
            upload(device, &before, self.result)?,
            upload(device, &bias, Element::Bf16)?,
        ];
        let [on_a, on_b, on_c, on_d, on_bias] = &on_device;
        let place = |buffer: &Buffer, element: Element| buffer.address().at(self.offset * element.bytes());
        let operand = |address, stride, transposed| Operand { address, stride, transposed };
        let d = operand(place(on_d, self.result), d_stride, false);
        let gemm = Gemm {
            m,
            n,
            k,
            alpha: self.alpha,
            a: operand(place(on_a, Element::Bf16), a_stride, self.transposed[0]),
            b: operand(place(on_b, Element::Bf16), b_stride, self.transposed[1]),
            c: match self.added {
                Added::Nothing => None,
                Added::Other => Some(operand(place(on_c, self.result), c_stride, false)),
                Added::InPlace => Some(d),
            },
            d,
            result: self.result,
            bias: self.bias.then(|| place(on_bias, Element::Bf16)),
        };
        device.multiply(&gemm)?;
        let found = download(device, on_d, self.result)?;
        let added = if self.added == Added::Other { &c } else { &before };
        let worst = self.compare(&found, [(&a, a_stride), (&b, b_stride), (added, d_stride)], &bias)?;
        for (index, (found, before)) in found.iter().zip(&before).enumerate() {
            let outside = index < self.offset || (index - self.offset) % d_stride >= n;
            ensure!(!outside || found == before, "value {index} beside the result changed");
        }
        if self.added == Added::InPlace {
            return Ok(format!("{worst:.2} of the tolerance"));
        }
        device.multiply(&gemm)?;
        let again = download(device, on_d, self.result)?;
        ensure!(again == found, "a second time gives other bytes");
        Ok(format!("{worst:.2} of the tolerance"))
    }

    /// Looks at each value of a result; returns the worst part of its tolerance. The stride of what was added is
    /// the result's too.
    fn compare(
        &self,
        found: &[f32],
        [(a, a_stride), (b, b_stride), (added, stride)]: [(&[f32], usize); 3],
        bias: &[f32],
    ) -> Result<f64> {
        let [m, n, k] = self.size;
        let get = |values: &[f32], stride: usize, transposed: bool, row: usize, column: usize| {
            values[self.offset + if transposed { column * stride + row } else { row * stride + column }]
        };
        let mut worst = 0.0_f64;
        for row in 0..m {
            // A large product is checked by some of its rows.
            if m > 1000 && row % 97 != 0 {
                continue;
            }
            for column in 0..n {
                let mut wanted: f64 = (0..k)
                    .map(|inner| {
                        f64::from(get(a, a_stride, self.transposed[0], row, inner))
                            * f64::from(get(b, b_stride, self.transposed[1], inner, column))
                    })
                    .sum();
                wanted *= f64::from(self.alpha);
                wanted += f64::from(match self.added {
                    Added::Nothing => 0.0,
                    Added::Other | Added::InPlace => get(added, stride, false, row, column),
                });
                wanted += if self.bias { f64::from(bias[self.offset + column]) } else { 0.0 };
                let got = f64::from(get(found, stride, false, row, column));
                let allowed = match self.result {
                    Element::Bf16 => 0.005 * wanted.abs() + 0.01,
                    Element::F32 => 1e-4 * wanted.abs() + 3e-3,
                };
                let wrong = (got - wanted).abs();
                ensure!(wrong <= allowed, "[{row}, {column}] is {got}, expected {wanted}");
                worst = worst.max(wrong / allowed);
            }
        }
        Ok(worst)
    }
}

/// Rates of products as training has them; the hardware's limit for bf16 is 989 TFLOP/s on an H100 SXM.
pub(crate) fn speed(device: &Arc<dyn Device>) -> Result<String> {
    let mut lines = Vec::new();
    for [m, n, k] in [[8192, 4096, 4096], [8192, 14336, 4096], [8192, 16, 4096], [2048, 1024, 1024]] {
        let buffers = [
            Buffer::new(device, m * k * 2)?,
            Buffer::new(device, n * k * 2)?,
            Buffer::new(device, m * n * 2)?,
        ];
        let [a, b, d] = buffers.each_ref().map(Buffer::address);
        // Zeros would take less power, and so less time.
        for (seed, to, rows) in [(1, a, m), (2, b, n)] {
            fill(device.as_ref(), to, [rows, k], seed)?;
        }
        let operand = |address, stride, transposed| Operand { address, stride, transposed };
        let gemm = Gemm {
            m,
            n,
            k,
            alpha: 1.0,
            a: operand(a, k, false),
            b: operand(b, k, true),
            c: None,
            d: operand(d, n, false),
            result: Element::Bf16,
            bias: None,
        };
        device.multiply(&gemm)?;
        device.finish()?;
        let start = Instant::now();
        for _ in 0..20 {
            device.multiply(&gemm)?;
        }
        device.finish()?;
        let seconds = start.elapsed().as_secs_f64() / 20.0;
        let rate = 2.0 * m as f64 * n as f64 * k as f64 / seconds / 1e12;
        lines.push(format!("{m}·{n}·{k} {:.0} µs, {rate:.0} TFLOP/s", seconds * 1e6));
    }
    Ok(lines.join("; "))
}

fn fill(device: &dyn Device, to: Address, [rows, columns]: [usize; 2], seed: i64) -> Result<(), DeviceError> {
    let arguments = [
        Argument::Address(to),
        Argument::Int(columns as i32),
        Argument::Int(rows as i32),
        Argument::Int(columns as i32),
        Argument::Long(seed),
        Argument::Float(1.0),
    ];
    start_rows(device, "fill_uniform", &arguments)
}

pub(crate) fn untuned_products(ordinal: u32, options: &CudaOptions) -> Result<String> {
    let device: Arc<dyn Device> = Arc::new(CudaDevice::new(ordinal, options)?);
    for shape in [PLAIN, Shape { added: Added::InPlace, ..PLAIN }, Shape { bias: true, ..PLAIN }] {
        shape.check(&device)?;
    }
    Ok("a second device beside the first".to_owned())
}
