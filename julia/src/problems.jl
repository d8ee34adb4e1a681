# The stochastic differential equations (Itô), each with its parameters and its initial law N(0, init_std²).

abstract type Problem end

"""
    SingleNeuron(x, y, activation, zeta, init_std)

One neuron ŷ = w2 φ(w1 x), trained on m points (x, y) with gradient noise of strength η ζ² (Figure 2 of the paper):

    dw1 = −(1/m) Σ (ŷ_i − y_i) w2 φ'(w1 x_i) x_i dt + √η ζ w2 Σ φ'(w1 x_i) x_i dB_i/√m
    dw2 = −(1/m) Σ (ŷ_i − y_i) φ(w1 x_i) dt        + √η ζ    Σ φ(w1 x_i) dB_i/√m

The noise level is η; a state is (w1, w2).
"""
struct SingleNeuron{A<:Activation} <: Problem
    x::Vector{Float64}
    y::Vector{Float64}
    activation::A
    zeta::Float64
    init_std::Float64
end

"""
    QuarticWell(mu, init_std)

dθ = −(θ³ − μθ) dt + ζ θ dB (Figure 1 of the paper). The noise level is ζ; a state is θ.
"""
struct QuarticWell <: Problem
    mu::Float64
    init_std::Float64
end

"""Numbers in a state, and normals that a step draws."""
dimension(::SingleNeuron) = 2
dimension(::QuarticWell) = 1
