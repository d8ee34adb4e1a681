@testset "npy" begin
    mktempdir() do dir
        path = joinpath(dir, "a.npy")
        store(bytes...) = write(path, vcat(map(part -> Vector{UInt8}(codeunits(part)), bytes)...))
        bytes_of(array) = String(copy(reinterpret(UInt8, vec(array))))
        # What numpy.save writes for np.arange(6.0).reshape(2, 3) and, transposed, in Fortran order.
        header(order, shape) = rpad("{'descr': '<f8', 'fortran_order': $order, 'shape': $shape, }", 117) * "\n"
        c_order = ("\x93NUMPY\x01\x00\x76\x00", header("False", "(2, 3)"), bytes_of(0.0:5.0 |> collect))

        store(c_order...)
        @test SC.read_npy(path) == [0.0 3; 1 4; 2 5]  # axes reversed
        open(io -> SC.write_npy(io, [0.0 3; 1 4; 2 5]), path, "w")
        @test read(path, String) == join(c_order)

        store("\x93NUMPY\x01\x00\x76\x00", header("True", "(2, 3)"), bytes_of([0.0, 3, 1, 4, 2, 5]))
        @test SC.read_npy(path) == [0.0 3; 1 4; 2 5]
        store("\x93NUMPY\x02\x00\x76\x00\x00\x00", header("False", "(2,)"), bytes_of([1.5, -0.0]))
        @test SC.read_npy(path) == [1.5, -0.0]

        for array in (fill(1.5), [1.0], zeros(0), rand(4, 1, 3, 2), [NaN, Inf, 5e-324])
            open(io -> SC.write_npy(io, array), path, "w")
            @test isequal(SC.read_npy(path), array)
            @test (filesize(path) - 8length(array)) % 64 == 0
        end

        says(text) = try
            SC.read_npy(path)
            false
        catch error
            error isa ArgumentError && occursin(text, error.msg) && !occursin('\n', error.msg)
        end
        store("PK\x03\x04 anything")
        @test says("not a .npy file")
        store("\x93NUMPY\x01\x00\x76")
        @test says("not a .npy file")
        store("\x93NUMPY\x01\x00\x76\x00", replace(header("False", "(2,)"), "<f8" => "<f4"), "12345678")
        @test says("dtype is <f4, expected <f8")
        store("\x93NUMPY\x01\x00\x76\x00", header("False", "(2,)"), "12345678")
        @test says("8 bytes of values, expected 16")
        store("\x93NUMPY\x01\x00\x04\x00", "none")
        @test says("unreadable .npy header")
    end
end
