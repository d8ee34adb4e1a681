# Compile with the package what every run needs: it halves the seconds before the first step.

precompile(simulate, (String,))
let activation = typeof(ACTIVATIONS["tanh"]), neuron = SingleNeuron{activation}, gelu = typeof(ACTIVATIONS["gelu"])
    precompile(Tabulated, (neuron,))
    for (problem, form, step) in ((neuron, Tabulated, TabulatedNeuron{activation}),
                                  (neuron, Direct, DirectNeuron{activation}),
                                  (QuarticWell, Direct, DirectWell),
                                  (TeacherStudent, Direct, DirectTeacherStudent),
                                  (Students{gelu}, Direct, DirectStudents{gelu}),
                                  (GeneralTeacherStudent, Direct, DirectGeneralTeacherStudent))
        precompile(simulate_level, (problem, form, Spec, Int, Monitor))
        precompile(simulate_block!,
                   (Array{Float64,3}, UnitRange{Int}, step, problem, Vector{Int}, NormalStream, Monitor))
        precompile(advance!, (Matrix{Float64}, step, Array{Float64,3}, Int, Int, NormalStream))
    end
end
