//! Holds the kernels against the CPU.

use super::*;
use crate::{
    cuda::testing::devices,
    ops::testing::{
        device::{download, download_floats, upload, upload_floats},
        random,
    },
    optim::{self, Parameters},
};

#[test]
fn the_norm_is_that_of_the_cpu() {
    for device in devices() {
        for count in [1, 3, 256, 1001, 65_536, 65_541, 300_007] {
            let values = random(1, count);
            let on_device = upload_floats(&device, &values);
            let partial_sums = upload(&device, &vec![0xff; partials(count) * 8]);
            let sum = upload(&device, &[0xff; 8]);
            sum_of_squares(&*device, on_device.address(), count, partial_sums.address(), sum.address())
                .unwrap();
            let sum = f64::from_le_bytes(download(&device, &sum).try_into().unwrap());
            let expected = optim::global_norm(&values);
            assert!((sum.sqrt() - expected).abs() < 1e-12 * expected, "{} against {expected}", sum.sqrt());
        }
    }
}

#[test]
fn a_step_gives_the_bits_of_the_cpu() {
    let options =
        StepOptions { learning_rate: 1e-2, b_rate_ratio: 16.0, weight_decay: 0.1, ..StepOptions::default() };
    for device in devices() {
        for count in [1, 5, 256, 3000, 40_001] {
            let [mut values, gradients, mut first, second] = [1, 2, 3, 4].map(|seed| random(seed, count));
            let mut second: Vec<f32> = second.iter().map(|value| value * value).collect();
            let classes: Vec<u8> = (0..count.div_ceil(CLASS)).map(|class| u8::from(class % 3 == 1)).collect();
            let buffers = [&values, &gradients, &first, &second].map(|values| upload_floats(&device, values));
            let classes_on_device = upload(&device, &classes);
            let parameters = DeviceParameters {
                values: buffers[0].address(),
                gradients: buffers[1].address(),
                first_moments: buffers[2].address(),
                second_moments: buffers[3].address(),
                classes: classes_on_device.address(),
                count,
            };
            adamw(&*device, parameters, 0.7, 3, &options).unwrap();
            let fast = classes.iter().enumerate().filter(|(_, class)| **class == 1);
            let fast = fast.map(|(class, _)| class * CLASS..count.min((class + 1) * CLASS));
            let parameters = Parameters {
                values: &mut values,
                gradients: &gradients,
                first_moments: &mut first,
                second_moments: &mut second,
            };
            optim::adamw_plus(parameters, fast, 0.7, 3, &options);
            let expected = [values, vec![0.0; count], first, second];
            for (place, (buffer, expected)) in buffers.iter().zip(&expected).enumerate() {
                let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<u32>>();
                let same = bits(&download_floats(&device, buffer)) == bits(expected);
                assert!(same, "array {place} of {count} on {}", device.name());
            }
        }
    }
}
