;;; tables.lisp - hash tables of all four tests, structures and CLOS objects.
(defstruct point x y)
(defclass shape () ((name :initarg :name :reader name) (size :initarg :size :accessor size)))
(defmethod area ((s shape)) (* (size s) (size s)))

(defun fill-table (test make-key n)
  (let ((table (make-hash-table :test test)) (keys '()) (sum 0))
    (dotimes (i n)
      (let ((key (funcall make-key i)))
        (push key keys)
        (setf (gethash key table) (list i key))))
    (loop for key in keys for i from 0
          do (incf sum (first (gethash key table)))
             (when (zerop (mod i 3)) (remhash key table)))
    (list (hash-table-count table) sum)))

(defun objects (n)
  (let ((shapes '()) (points '()))
    (dotimes (i n)
      (push (make-instance 'shape :name (format nil "s~d" i) :size i) shapes)
      (push (make-point :x i :y (- i)) points))
    (+ (reduce #'+ (mapcar #'area shapes))
       (reduce #'+ (mapcar #'point-y points)))))

(defun main (rounds)
  (dotimes (i rounds)
    (format t "~a ~a ~a ~a ~a ~a~%" i
            (fill-table 'eq #'list 5000)
            (fill-table 'eql (lambda (k) (* k 3000000000000)) 5000)
            (fill-table 'equal (lambda (k) (format nil "key ~d" k)) 3000)
            (fill-table 'equalp (lambda (k) (vector k (1+ k))) 2000)
            (objects 300))))
