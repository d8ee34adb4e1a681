# Euler–Maruyama: X ← X + a(X) dt + b(X) √dt ξ, strong order 1/2, weak order 1 (Kloeden and Platen 1992, 10.2 and 14.1).
#
# A stepper is what remains of a problem once form, noise level and dt are fixed: `step!(stepper, states, normals, k)`
# advances every column of `states`, of size (D, trajectories), by one step with the normals [:, :, k]. Where the number
# of the step matters it is a fifth argument. Some steppers do more, for which these are the places:

step!(stepper, states, normals, k, number) = step!(stepper, states, normals, k)

"""Prepare for a block of trajectories that starts from `states`."""
begin!(stepper, states, trajectories) = nothing

"""Draw what the next `steps` steps of a block need beside normals."""
draw!(stepper, steps, stream) = nothing

"""Throw if the `states` of these trajectories after `at` steps make no sense."""
check(stepper, states, trajectories, at) = nothing

"""Put what is saved of `states` into `out`, (D, trajectories)."""
observe!(out, stepper, states) = out .= states

"""How a step is computed; `stepper(problem, form, noise, dt)` makes the stepper. `Direct` follows the equations."""
abstract type Form end
struct Direct <: Form end

struct DirectWell
    mu::Float64
    dt::Float64
    noise::Float64  # ζ √dt
end
stepper(well::QuarticWell, ::Direct, noise, dt) = DirectWell(well.mu, dt, noise * sqrt(dt))

function step!(well::DirectWell, states, normals, k)
    @inbounds @simd for n in axes(states, 2)
        θ = states[1, n]
        states[1, n] = θ + θ * muladd(well.dt, well.mu - θ^2, well.noise * normals[1, n, k])
    end
end

struct DirectNeuron{A}
    neuron::SingleNeuron{A}
    drift::Float64  # dt/m
    noise::Float64  # ζ √(η dt/m)
    t::Vector{Float64}  # scratch (m,): a stepper belongs to one task
    s::Vector{Float64}
end
function stepper(neuron::SingleNeuron, ::Direct, noise, dt)
    m = length(neuron.x)
    DirectNeuron(neuron, dt / m, neuron.zeta * sqrt(noise * dt / m), zeros(m), zeros(m))
end

"""
What a step needs to know of the data at one w1, with t_i = φ(w1 x_i) and s_i = φ'(w1 x_i) x_i: the sums Σys, Σyt,
Σts, Σt² of the drift, and a root of the covariance of the noise. The m Brownian motions enter only through
(Σ s dB, Σ t dB), two normals of covariance [Σs² Σts; Σts Σt²] = L Lᵀ.
"""
struct Terms
    ys::Float64
    yt::Float64
    ts::Float64
    tt::Float64
    L11::Float64
    L21::Float64
    L22::Float64
end

"""
    terms!(stepper, w1) -> Terms

Of the roots L, which all give the same law, this takes the one that is smooth in w1: L11 has the parity of s, L22
that of t. L22 is the norm of what is left of t beyond s (Gram–Schmidt) rather than √(Σt² − L21²): it cannot become the
root of a negative number, and loses no digits where t and s are nearly parallel, as they are near w1 = 0.
"""
function terms!(stepper::DirectNeuron{Activation{P,F}}, w1) where {P,F}
    x, y, t, s, f = stepper.neuron.x, stepper.neuron.y, stepper.t, stepper.s, stepper.neuron.activation.f
    @inbounds @simd for i in eachindex(x)
        φ, slope = f(w1 * x[i])
        t[i], s[i] = φ, slope * x[i]
    end
    ys = yt = ts = tt = ss = 0.0
    @inbounds @simd for i in eachindex(x)
        ys += y[i] * s[i]
        yt += y[i] * t[i]
        ts += t[i] * s[i]
        tt += t[i] * t[i]
        ss += s[i] * s[i]
    end
    slope = ss > 0 ? ts / ss : 0.0
    rest = 0.0
    @inbounds @simd for i in eachindex(x)
        rest += (t[i] - slope * s[i])^2
    end
    root_s = P === :odd ? sqrt(ss) : copysign(sqrt(ss), w1)
    root_t = P === :odd ? copysign(sqrt(rest), w1) : sqrt(rest)
    Terms(ys, yt, ts, tt, root_s, slope * root_s, root_t)
end

function step!(stepper::DirectNeuron, states, normals, k)
    @inbounds for n in axes(states, 2)
        states[1, n], states[2, n] = stepped(stepper, states[1, n], states[2, n], normals[1, n, k], normals[2, n, k])
    end
end

"""The state after (w1, w2), one step on, with the normals ξ1 and ξ2."""
function stepped(stepper::DirectNeuron, w1, w2, ξ1, ξ2)
    of = terms!(stepper, w1)
    dw1 = w2 * (stepper.drift * (of.ys - w2 * of.ts) + stepper.noise * of.L11 * ξ1)
    dw2 = stepper.drift * (of.yt - w2 * of.tt) + stepper.noise * (of.L21 * ξ1 + of.L22 * ξ2)
    w1 + dw1, w2 + dw2
end
