"""
Toy problems of SGD's collapse towards invariant sets (arXiv 2306.04251): stochastic differential equations, and
recursions of SGD.

One public entry, [`simulate`](@ref): it takes a run directory with a `spec.toml`, runs an ensemble of trajectories at
every noise level, and leaves `.npy` files there. [`add_activation!`](@ref) adds activation functions.

Three ideas are kept apart: a *problem* is an SDE or a recursion with its start (`problems.jl`), a *form* says how one
step is computed (`euler_maruyama.jl`, `recursions.jl`, `tables.jl`; the recursions with matrices, `students.jl` and
`general.jl`, have both in one file), the *ensemble* spreads trajectories over threads (`ensemble.jl`). The rest is input and output.

Standard library only; runs on Julia 1.5 and newer.
"""
module StochasticCollapse

using LinearAlgebra: BLAS, dot, mul!, norm

# Julia 1.5 has no TOML in its standard library; its package manager carries the same parser.
@static if VERSION >= v"1.6"
    using TOML
else
    const TOML = Base.require(Base.PkgId(Base.UUID("44cfe95a-1eb2-52ea-b672-e2afdf69b78f"), "Pkg")).TOML
end

export simulate, add_activation!

const PROJECT_FILE = joinpath(@__DIR__, "..", "Project.toml")
include_dependency(PROJECT_FILE)
const PACKAGE_VERSION = TOML.parsefile(PROJECT_FILE)["version"]

include("npy.jl")
include("normals.jl")
include("activations.jl")
include("problems.jl")
include("euler_maruyama.jl")
include("recursions.jl")
include("students.jl")
include("general.jl")
include("tables.jl")
include("spec.jl")
include("protocol.jl")
include("ensemble.jl")
include("simulate.jl")
include("precompile.jl")

end
